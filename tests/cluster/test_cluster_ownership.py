"""Whose cluster this machine runs."""

from pathlib import Path

import pytest
from devcluster import ownership
from devcluster.ownership import Claim, Owner

OURS = Path("/home/one/clone")
THEIRS = Path("/home/two/clone")


@pytest.mark.parametrize(
    ("owner", "anything_alive", "verdict"),
    [
        (None, False, Claim.FREE),
        (None, True, Claim.LEFT_BEHIND),
        (Owner(OURS, exists=True), True, Claim.OURS),
        (Owner(OURS, exists=True), False, Claim.OURS),
        (Owner(THEIRS, exists=True), True, Claim.TAKEN),
        (Owner(THEIRS, exists=True), False, Claim.LEFT_BEHIND),
        (Owner(THEIRS, exists=False), True, Claim.LEFT_BEHIND),
        (Owner(THEIRS, exists=False), False, Claim.LEFT_BEHIND),
    ],
)
def test_a_machine_is_taken_only_by_a_clone_that_exists_and_runs(owner, anything_alive, verdict):
    assert ownership.judge(owner, OURS, anything_alive=anything_alive) is verdict


def test_the_refusal_names_the_clone_and_the_command_to_run_there():
    message = str(ownership.refusal(Owner(THEIRS, exists=True), 0))
    assert str(THEIRS) in message
    assert f"cd {THEIRS} && python3 hack/cluster down" in message


def test_the_refusal_of_another_instance_names_the_instance():
    assert "CLUSTER_INSTANCE=2 python3 hack/cluster down" in str(ownership.refusal(Owner(THEIRS, exists=True), 2))


def test_a_claim_is_read_back_by_another_clone(tmp_path):
    clone = tmp_path / "clone"
    (clone / "hack" / "cluster").mkdir(parents=True)
    ownership.claim(tmp_path / "run", clone)
    assert ownership.read(tmp_path / "run") == Owner(clone, exists=True)


def test_a_claim_of_a_clone_that_was_deleted_says_so(tmp_path):
    ownership.claim(tmp_path, tmp_path / "gone")
    assert ownership.read(tmp_path) == Owner(tmp_path / "gone", exists=False)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"clone": 3}', '{"other": "x"}'])
def test_a_record_that_cannot_be_read_is_no_owner(tmp_path, text):
    (tmp_path / ownership.RECORD).write_text(text)
    assert ownership.read(tmp_path) is None
