"""What patterns take: each little, all of a Runbook's a known sum, all of a namespace's matchers another."""

import pytest

from incident_operator.api.meta import ObjectKey
from incident_operator.core import sanitize
from incident_operator.core.alerts import matching
from incident_operator.receiver.routing import RunbookIndex
from tests.core.runbooks.runbook_texts import compile_spec

WIDE = r'l!~"\pL{330}"'
"""Half a second and five megabytes, where the program may be as large as RE2 lets it."""
LARGE = 'x=~".{{1,400}}{}"'
"""The largest that there may be: 64 KiB."""
USUAL = r'service=~"payments-(?:api|web|worker)-[0-9]{1,5}"'


def runbook(name: str, *matchers: str, namespace: str = "prod") -> dict:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"match": list(matchers)}}


def large(runbook_number: int, count: int = 20) -> list[str]:
    """Matchers that are unlike any other Runbook's."""
    return [LARGE.format(f"{runbook_number}-{number}") for number in range(count)]


def test_a_pattern_that_takes_a_large_program_is_refused_with_what_helps() -> None:
    refused = matching.parse(WIDE)
    assert isinstance(refused, matching.MatcherError)
    assert refused.message == (
        "takes more than 64 KiB as a program; use fewer repetitions (+ or * instead of {30}, for example) or smaller character classes"
    )


@pytest.mark.parametrize(
    ("pattern", "kibibytes"),
    [
        ("a.*b", 8),
        (r"[0-9]{4}-[0-9]{2}", 8),
        ("(?P<step>build: .*)", 8),
        (".{1,200}", 32),
        (r"\pL+", 32),
        (".{1,400}", 64),
    ],
)
def test_a_pattern_gets_the_least_budget_that_it_fits_into(pattern: str, kibibytes: int) -> None:
    assert sanitize.pattern_bytes([sanitize.compiled_pattern(pattern), None]) == kibibytes * 1024


def test_a_runbook_with_as_many_usual_patterns_as_there_may_be_is_within_its_budget() -> None:
    parameters = [
        {"name": f"p{at}", "type": "string", "from": "alert.labels.x", "pattern": f"v{at}-[a-z0-9-]+"}
        for at in range(32)
    ]
    match = [USUAL.replace("service", f"l{at}") for at in range(20)]
    assert not isinstance(
        compile_spec({"title": "t", "serviceAccountName": "a", "match": match, "parameters": parameters}), tuple
    )


def test_a_runbook_whose_patterns_together_take_too_much_is_invalid_and_told_why() -> None:
    found = compile_spec({"title": "t", "serviceAccountName": "a", "match": large(1)})
    assert isinstance(found, tuple)
    assert str(found[0]) == (
        "spec: the patterns of match and parameters take 1280 KiB together, a Runbook's 512; use fewer repetitions in them, or smaller character classes"
    )


def test_a_namespace_over_its_budget_of_patterns_harms_no_other() -> None:
    index = RunbookIndex()
    for number in range(6):
        index.note(runbook(f"heavy-{number}", *large(number)))
    index.note(runbook("light", "a=b"))
    index.note(runbook("other", USUAL, namespace="other"))
    assert [key.name for key in index.names()] == ["heavy-0", "heavy-1", "heavy-2", "light", "other"]
    assert index.over_budget(ObjectKey("prod", "heavy-3")).startswith(
        "spec.match: with it the patterns of the Runbooks"
    )
    assert index.over_budget(ObjectKey("prod", "light")) == ""


def test_a_runbook_that_was_over_budget_is_matched_once_others_leave_room() -> None:
    index = RunbookIndex()
    for number in range(5):
        index.note(runbook(f"heavy-{number}", *large(number)))
    index.forget(runbook("heavy-0"))
    assert [key.name for key in index.names()] == ["heavy-1", "heavy-2", "heavy-3"]
    index.note(runbook("heavy-1", "a=b"))
    index.note(runbook("heavy-2", "a=b"))
    assert sorted(key.name for key in index.names()) == ["heavy-1", "heavy-2", "heavy-3", "heavy-4"]
    assert index.over_budget(ObjectKey("prod", "heavy-4")) == ""


def test_a_runbook_that_is_over_budget_and_deleted_is_forgotten() -> None:
    index = RunbookIndex()
    for number in range(4):
        index.note(runbook(f"heavy-{number}", *large(number)))
    index.forget(runbook("heavy-3"))
    index.forget(runbook("heavy-0"))
    assert [key.name for key in index.names()] == ["heavy-1", "heavy-2"]


def test_runbooks_over_budget_are_noted_without_compiling_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    index, compiled = RunbookIndex(), []
    for number in range(5):
        index.note(runbook(f"heavy-{number}", *large(number)))
    within = sanitize.compiled_pattern
    monkeypatch.setattr(matching, "compiled_pattern", lambda pattern: compiled.append(pattern) or within(pattern))
    index.note(runbook("light", 'a=~"b.*"'))
    assert compiled == ["b.*"]
