"""Markers: the same for the same attempt, and nobody without the key can make one."""

import hashlib

import pytest

from incident_operator.api.runbook import Stage
from incident_operator.core.action import Markers, shown_marker
from incident_operator.core.machine.view import step_key

KEY = bytes(range(32))
ATTEMPT = ("0d5c3f3e", Stage.REMEDIATE, "restart", 1)


def test_a_marker_is_hmac_sha256_of_the_attempt() -> None:
    # openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f, over `0d5c3f3e/remediate/restart/1`
    assert Markers(KEY).of(*ATTEMPT) == "3dd807f5ba660b0ccabacbe0f17cbf68166626156d872ab327f12339149c49d9"


@pytest.mark.parametrize(
    "other",
    [
        ("0d5c3f3f", Stage.REMEDIATE, "restart", 1),
        ("0d5c3f3e", Stage.MITIGATE, "restart", 1),
        ("0d5c3f3e", Stage.REMEDIATE, "restart-web", 1),
        ("0d5c3f3e", Stage.REMEDIATE, "restart", 2),
    ],
)
def test_each_attempt_has_a_marker_of_its_own_which_stays_the_same(other: tuple[str, Stage, str, int]) -> None:
    assert Markers(KEY).of(*ATTEMPT) == Markers(KEY).of(*ATTEMPT)
    assert Markers(KEY).of(*other) != Markers(KEY).of(*ATTEMPT)


def test_who_knows_the_incident_and_not_the_key_cannot_work_it_out() -> None:
    made = Markers(KEY).of(*ATTEMPT)
    assert made != Markers(KEY[::-1]).of(*ATTEMPT)
    assert made != step_key(*ATTEMPT)


def test_what_is_shown_tells_markers_apart_and_is_no_part_of_them() -> None:
    one, other = Markers(KEY).of(*ATTEMPT), Markers(KEY[::-1]).of(*ATTEMPT)
    assert shown_marker(one) == hashlib.sha256(one.encode()).hexdigest()[:16]
    assert shown_marker(one) != shown_marker(other)
    assert shown_marker(one) not in one


@pytest.mark.parametrize("key", [b"", KEY[:31]])
def test_a_key_that_could_be_guessed_is_refused_and_not_told(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"the key of the markers has {len(key)} bytes; 32 are needed"):
        Markers(key)


def test_the_key_is_never_printed() -> None:
    assert repr(Markers(KEY)) == "Markers()"
