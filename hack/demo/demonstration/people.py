"""Who takes part, each with a client certificate of their own. What each may do is in examples/dawsos/incidents/people.yaml."""

from dataclasses import dataclass

from demonstration import shell
from demonstration.cluster import REPOSITORY, Cluster


@dataclass(frozen=True, slots=True)
class Person:
    """A person at a terminal."""

    name: str
    cluster: Cluster

    @property
    def prompt(self) -> str:
        """What stands in front of their commands."""
        return self.name.partition("@")[0]

    @property
    def kubeconfig(self) -> str:
        """Their kubeconfig, as a person in the clone names it."""
        path = self.cluster.kubeconfig
        return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)

    def runs(self, command: str, seconds: float = 60) -> str:
        """Run a line as this person; returns what it printed. Raises shell.Failure."""
        try:
            return self.cluster.must(command, timeout=seconds)
        except shell.Failure as failure:
            raise shell.Failure(f"as {self.name}: {failure}") from None

    def is_refused(self, command: str) -> str:
        """Run a line that must not be allowed; returns the refusal. Raises shell.Failure where it is allowed, or fails otherwise."""
        result = self.cluster.script(command)
        if result.code == 0:
            raise shell.Failure(f"`{command}` should have been refused for {self.name}, but was allowed")
        if "denied" not in result.errors and "forbidden" not in result.errors.lower():
            raise shell.Failure(f"`{command}` failed for {self.name}, but not by a refusal:\n{result.errors.strip()}")
        return result.errors


@dataclass(frozen=True, slots=True)
class Actors:
    """Everyone in the story."""

    admin: Person
    alice: Person
    """On call; may approve."""
    bob: Person
    """Wrote the runbook; may approve, but not what he wrote."""
    mallory: Person
    """May annotate Incidents, and approve nothing."""


def gather(admin: Cluster) -> Actors:
    """Give everyone a certificate."""
    alice, bob, mallory = (_person(admin, f"{name}@dawsos.com") for name in ("alice", "bob", "mallory"))
    return Actors(Person("admin", admin), alice, bob, mallory)


def _person(admin: Cluster, name: str) -> Person:
    return Person(name, admin.as_user(name))
