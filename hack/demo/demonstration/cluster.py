"""The cluster that hack/cluster runs, seen by one of its people through kubectl."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from demonstration import shell

REPOSITORY = Path(__file__).resolve().parents[3]
TOOL = (sys.executable, str(REPOSITORY / "hack" / "cluster"))
OFTEN = {"CLUSTER_PROGRESS_SECONDS": "5"}
"""How often `hack/cluster` says how far it has come: the demonstration shows it in a bar, or leaves most of it out."""
NOT_FOUND = "Error from server (NotFound)"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and as whom it is used."""

    kubeconfig: Path
    programs: Path
    """Where the cluster's own kubectl and helm are; those of PATH are used where it has none."""

    @property
    def environment(self) -> dict[str, str]:
        """What kubectl and helm have to see."""
        path = f"{self.programs}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def program(self, name: str) -> str:
        """The full path of kubectl or helm."""
        return shutil.which(name, path=self.environment["PATH"]) or name

    def kubectl(self, *words: str, stdin: str = "", timeout: float = 60) -> str:
        """Run kubectl; returns its output. Raises shell.Failure."""
        return shell.run([self.program("kubectl"), *words], stdin=stdin, timeout=timeout, environment=self.environment)

    def try_kubectl(self, *words: str, timeout: float = 60) -> shell.Result:
        """Run kubectl where a refusal is an answer too."""
        return shell.attempt([self.program("kubectl"), *words], timeout=timeout, environment=self.environment)

    def helm(self, *words: str, timeout: float = 300) -> str:
        """Run helm; returns its output. Raises shell.Failure."""
        return shell.run([self.program("helm"), *words], timeout=timeout, environment=self.environment)

    def apply(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Apply objects; their values never show in a process list."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed), timeout=120)

    def script(self, line: str, *, timeout: float = 60) -> shell.Result:
        """Run a line as a person's shell would: pipes and `$(…)` work."""
        return shell.attempt(["sh", "-c", line], timeout=timeout, environment=self.environment)

    def must(self, line: str, *, timeout: float = 60) -> str:
        """Run such a line; returns its output. Raises shell.Failure where it fails."""
        result = self.script(line, timeout=timeout)
        if result.code != 0:
            raise shell.Failure(f"`{line}` failed:\n{(result.errors or result.output).strip()}")
        return result.output

    def get(self, *words: str) -> dict[str, Any] | None:
        """One object or a list as JSON; None where there is no such object."""
        result = self.try_kubectl("get", *words, "-o", "json")
        if result.code == 0:
            return dict(json.loads(result.output))
        if result.errors.startswith(NOT_FOUND):
            return None
        raise shell.Failure(result.errors.strip())

    def roll_out(self, namespace: str, *deployments: str, timeout: float = 180) -> None:
        """Wait until the newest Pods of all these Deployments are ready."""
        for name in deployments:
            wait = f"--timeout={timeout:.0f}s"
            self.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, wait, timeout=timeout + 5)

    def as_user(self, name: str, *groups: str) -> "Cluster":
        """The same cluster, used by another person with a client certificate of their own."""
        flags = [word for group in groups for word in ("--group", group)]
        path = tool("user", name, *flags).strip().splitlines()[-1]
        return replace(self, kubeconfig=Path(path))


def _quiet(_: str) -> None:
    """Tell nobody."""


def tool(*words: str, timeout: float = 120) -> str:
    """Run `hack/cluster`; returns its output. Raises shell.Failure."""
    return shell.run([*TOOL, *words], timeout=timeout)


def is_up() -> bool:
    """Whether all of the cluster runs."""
    return shell.attempt([*TOOL, "status"], timeout=60).code == 0


def up(tell: Tell = _quiet) -> Cluster:
    """Bring the cluster up, and return it as its administrator sees it; a first time builds Kubernetes."""
    shell.stream([*TOOL, "up"], tell, environment={**os.environ, **OFTEN})
    kubeconfig = Path(tool("kubeconfig").strip())
    return Cluster(kubeconfig, kubeconfig.parent / "bin")


def down() -> None:
    """Stop the cluster and keep its data."""
    tool("down", timeout=180)


def build_image(tag: str, dockerfile: str, base: str = "python", tell: Tell = _quiet) -> None:
    """Build an image of this repository, and load it into the cluster; quick when nothing changed."""
    words = ("--tag", tag, "--file", str(REPOSITORY / dockerfile), "--context", str(REPOSITORY), "--base", base)
    shell.stream([*TOOL, "build-image", *words], tell, environment={**os.environ, **OFTEN})
