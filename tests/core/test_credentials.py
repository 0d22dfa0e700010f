"""What it takes to look for credentials is bounded: of one Incident's, and of those of all Incidents together."""

import pytest

from incident_operator.core import masks
from incident_operator.core.masks import MASK, Credential
from incident_operator.core.redactor import Redactor

MEBIBYTE = 1024 * 1024


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_made", type(masks._made)(masks._KEPT, masks._HEAVIEST))


def secret(number: int, keys: int = 1024) -> frozenset[Credential]:
    """A Secret of many keys."""
    return frozenset(Credential(f"v{number}-{at:05d}Xq!{at * 7919:08x}", "db") for at in range(keys))


def test_the_masks_of_secrets_with_many_keys_are_not_all_kept() -> None:
    first, small = masks.of(secret(0)), masks.of(secret(1, keys=3))
    assert masks.of(secret(0)) is first
    assert masks.of(secret(1, keys=3)) is small
    weight = masks.weight(each.value for each in secret(0))
    for number in range(2, 2 + masks._HEAVIEST // weight):
        masks.of(secret(number))
    assert masks.of(secret(0)) is not first


def test_the_masks_of_small_secrets_are_kept() -> None:
    first = masks.of(secret(0, keys=3))
    for number in range(1, 50):
        masks.of(secret(number, keys=3))
    assert masks.of(secret(0, keys=3)) is first


def test_a_redactor_of_more_than_is_kept_shows_nothing() -> None:
    redactor = Redactor()
    for number in range(5):
        redactor.learn(f"c{number}", "1", lambda: ["x1-" * (MEBIBYTE // 3)])
    assert redactor.masks.text("harmless") == MASK
    assert redactor.masks.json({"a": ["harmless", 1]}) == {"a": [MASK, 1]}
    assert redactor._known == {}


def test_versions_that_are_forgotten_do_not_count() -> None:
    redactor = Redactor()
    for version in range(20):
        redactor.learn_own("token", f"{version}-" * (MEBIBYTE // 8))
    redactor.learn_own("other", "s3cret-value")
    assert redactor.masks is not masks.EVERYTHING
