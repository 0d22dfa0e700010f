"""The demonstration fails where something does not happen, and where something happens that must not."""

from pathlib import Path

import pytest
from demonstration import incidents, manifests, people, platform, shell, waiting
from demonstration.cluster import Cluster

NOWHERE = Cluster(Path("/nonexistent/kubeconfig"), Path("/nonexistent/bin"))
MALLORY = people.Person("mallory@dawsos.com", NOWHERE)


def test_waiting_ends_with_what_did_not_happen():
    with pytest.raises(shell.Failure, match=r"^the dawn did not happen within 0s$"):
        waiting.until("the dawn", lambda: None, 0)


def test_waiting_ends_with_what_was_found():
    assert waiting.until("the dawn", iter([None, "light"]).__next__, 60) == "light"


def test_a_refusal_is_shown_in_its_own_words():
    assert (
        MALLORY.is_refused("echo 'denied request: you are mallory' >&2; exit 1") == "denied request: you are mallory\n"
    )


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        pytest.param("true", "should have been refused for mallory@dawsos.com, but was allowed", id="allowed"),
        pytest.param("echo 'connection reset' >&2; exit 1", "not by a refusal", id="failed otherwise"),
    ],
)
def test_what_is_no_refusal_ends_the_demonstration(command, complaint):
    with pytest.raises(shell.Failure, match=complaint):
        MALLORY.is_refused(command)


def test_a_command_that_fails_is_told_with_its_own_words():
    with pytest.raises(shell.Failure, match=r"as mallory@dawsos.com: `echo no >&2; exit 3` failed:\nno$"):
        MALLORY.runs("echo no >&2; exit 3")


def test_a_program_that_is_missing_is_told_without_a_traceback():
    with pytest.raises(shell.Failure, match="is not there; `make cluster` puts it in place"):
        shell.run(["/nonexistent/kubectl"])


def test_a_program_that_hangs_is_ended():
    with pytest.raises(shell.Failure, match="did not end within 0s"):
        shell.run(["sleep", "30"], timeout=0.1)


class Answers(Cluster):
    """A cluster that has one object, whatever is asked for."""

    def __init__(self, body):
        super().__init__(Path("/nonexistent/kubeconfig"), Path("/nonexistent/bin"))
        object.__setattr__(self, "body", body)

    def get(self, *_words):
        return self.body


def test_an_incident_that_needs_a_human_ends_the_wait_at_once():
    body = {"metadata": {"name": "x-1"}, "status": {"phase": "NeedsHuman", "message": "the plan cannot be rendered"}}
    with pytest.raises(shell.Failure, match="NeedsHuman: the plan cannot be rendered"):
        incidents.until_phase(Answers(body), "x-1", "Resolved", 60)


def test_a_failed_condition_ends_the_wait_at_once():
    condition = {"type": "Diagnosed", "status": "False", "message": "job-log: forbidden"}
    body = {"metadata": {"name": "x-1"}, "status": {"phase": "Mitigating", "conditions": [condition]}}
    with pytest.raises(shell.Failure, match="x-1 is not Diagnosed: job-log: forbidden"):
        incidents.until_condition(Answers(body), "x-1", "Diagnosed", 60)


@pytest.mark.parametrize("touch", [platform.remove, platform.create_namespace])
def test_a_namespace_of_the_same_name_that_is_not_the_samples_is_left_alone(touch):
    with pytest.raises(shell.Failure, match="is not the sample's"):
        touch(Answers({"metadata": {"name": manifests.NAMESPACE, "labels": {"team": "payments"}}}))
