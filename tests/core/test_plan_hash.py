"""The plan's hash covers all it is bound to, and a difference is told and never missed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incident_operator.api.approvals import PlanEntry
from incident_operator.core import approval, sanitize
from tests.core.builders import START

BINDING = approval.Binding("uid", "revision", {"date": "2025-10-21", "rows": 3}, START, "nonce")
ENTRY = PlanEntry(step="rebuild", attempt=1, do="create Job", details={"command": ["a", "b"]}, in_trial="1 row")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "entry",
    [
        {"step": "other"},
        {"attempt": 2},
        {"do": "delete Job"},
        {"details": {"command": ["a", "c"]}},
        {"details": {"command": ["a", "b"], "more": 1}},
        {"details": {}},
        {"in_trial": "2 rows"},
        {"in_trial": None},
    ],
)
def test_the_hash_changes_with_everything_that_a_step_shows(entry):
    assert approval.plan_hash([ENTRY.model_copy(update=entry)], BINDING) != approval.plan_hash([ENTRY], BINDING)


@pytest.mark.parametrize(
    "binding",
    [
        {"incident_uid": "other"},
        {"runbook_revision": "other"},
        {"parameters": {"date": "2025-10-22", "rows": 3}},
        {"parameters": {"date": "2025-10-21", "rows": "3"}},
        {"expires_at": START + timedelta(seconds=1)},
        {"nonce": "other"},
    ],
)
def test_the_hash_changes_with_all_it_is_bound_to(binding):
    assert approval.plan_hash([ENTRY], replace(BINDING, **binding)) != approval.plan_hash([ENTRY], BINDING)


def test_the_hash_changes_with_the_order_and_number_of_steps():
    other = ENTRY.model_copy(update={"step": "mark-fresh"})
    hashes = {approval.plan_hash(entries, BINDING) for entries in ([], [ENTRY], [ENTRY, other], [other, ENTRY])}
    assert len(hashes) == 4


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**70), 1e20, 1.0, 0.1, float("nan")])
def test_large_and_odd_numbers_have_a_hash_and_are_told_apart(number):
    entry = ENTRY.model_copy(update={"details": {"id": number}})
    other = ENTRY.model_copy(update={"details": {"id": number + 1}})
    assert len(approval.plan_hash([entry], BINDING)) == 64
    if number == number and abs(number) < 1e19:
        assert approval.plan_hash([entry], BINDING) != approval.plan_hash([other], BINDING)
        assert approval.difference(entry, other, trial_binds=False)


@settings(deadline=None, max_examples=60)
@given(JSON)
def test_what_was_approved_is_the_same_after_it_was_stored(details):
    rendered = ENTRY.model_copy(update={"details": sanitize.canonical({"params": details})})
    stored = PlanEntry.model_validate_json(rendered.model_dump_json(by_alias=True))
    assert approval.difference(stored, rendered, trial_binds=True) == ""
    assert approval.plan_hash([stored], BINDING) == approval.plan_hash([rendered], BINDING)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"do": "delete Job"}, "rebuild: what create Job → delete Job"),
        ({"details": {"command": ["a"]}}, 'rebuild: command ["a", "b"] → ["a"]'),
        ({"details": {"command": ["a", "b"], "uid": "9"}}, "rebuild: uid null → 9"),
        ({"in_trial": "1204 rows"}, "rebuild: in trial 1 row → 1204 rows"),
        ({"attempt": 2}, ""),
    ],
)
def test_a_difference_says_what_it_was_and_what_it_is(changed, told):
    assert approval.difference(ENTRY, ENTRY.model_copy(update=changed), trial_binds=True) == told


def test_row_counts_bind_only_where_they_are_meant_to():
    other = ENTRY.model_copy(update={"in_trial": "1204 rows"})
    assert approval.difference(ENTRY, other, trial_binds=False) == ""


def test_what_a_trial_counted_below_its_bound_is_shown_and_binds_nothing():
    entry = ENTRY.model_copy(update={"in_trial": "up to 9 rows", "in_trial_counted": "1 row"})
    other = entry.model_copy(update={"in_trial_counted": "2 rows"})
    assert approval.difference(entry, other, trial_binds=True) == ""
    assert approval.plan_hash([entry], BINDING) != approval.plan_hash([other], BINDING)


def test_a_long_difference_is_cut():
    other = ENTRY.model_copy(update={"do": "x" * 5000})
    assert len(approval.difference(ENTRY, other, trial_binds=False)) < 300
