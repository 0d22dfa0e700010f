"""Runs what the story shows, and shows what it ran: no output is ever made up."""

from dataclasses import dataclass

from demonstration import manifests, shell
from demonstration.people import Actors, Person
from demonstration.terminal import Story

PROD = f"-n {manifests.NAMESPACE}"
EXECUTE = f"kubectl exec deployment/api {PROD} -- python3 -m api.check"


@dataclass(frozen=True, slots=True)
class Narrator:
    """The story, and who is in it."""

    story: Story
    actors: Actors

    def does(self, who: Person, command: str, *, seconds: float = 60) -> str:
        """Show a command, run it as this person, and show what it printed. Raises shell.Failure where it fails."""
        self.story.types(command, who.prompt)
        output = who.runs(command, seconds)
        self.story.shows(output)
        return output

    def is_refused(self, who: Person, command: str) -> None:
        """Show a command and its refusal. Raises shell.Failure where it is not refused."""
        self.story.types(command, who.prompt)
        self.story.shows(who.is_refused(command))

    def asks_api(self, expected: int) -> None:
        """Ask /execute as a client would. Raises shell.Failure where it answers with another status."""
        answer = self.does(self.actors.admin, EXECUTE)
        if not answer.startswith(f"HTTP {expected} "):
            raise shell.Failure(f"/execute should answer {expected}, but answers: {answer.strip()}")
