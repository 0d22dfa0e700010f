"""Who becomes a Runbook's editor and who reviews it, as the shipped expressions say; evaluated here, without an apiserver."""

from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from cel_expr_python import cel
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings

from incident_operator import policies
from incident_operator.api.incident import EDITORS, LAST_EDITOR, REVIEWED
from incident_operator.crdgen.schema import plain_policy

POLICY = next(yaml.safe_load_all(plain_policy(policies.text("runbook-editor.yaml"))))["spec"]
STAMPS = next(yaml.safe_load_all(plain_policy(policies.text(policies.STAMPING))))["spec"]
ALICE, BOB, CAROL, FRANK = "alice@dawsos.com", "bob@dawsos.com", "carol@dawsos.com", "Frank van Dam"
BOT = "system:serviceaccount:prod:bot"
APPROVERS = {ALICE, BOB, CAROL, FRANK, BOT}

Json = dict[str, Any]


def runbook(annotations: dict[str, str] | None = None, title: str = "as it was", generation: int = 3) -> Json:
    metadata: Json = {"name": "rb", "generation": generation}
    return {"metadata": metadata | ({"annotations": annotations} if annotations else {}), "spec": {"title": title}}


@dataclass(frozen=True)
class Request:
    """One request of a person; `old` is None where the Runbook is created."""

    who: str
    new: Json
    old: Json | None

    def evaluated(self, expression: str, variables: Json) -> Any:
        """Evaluate an expression; whether the person may approve is the row's own, for want of an authorizer."""
        names = ("request", "object", "oldObject", "variables")
        environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=[ExtOptional(), ExtStrings()])
        request = {
            "operation": "CREATE" if self.old is None else "UPDATE",
            "userInfo": {"username": self.who},
            "name": "rb",
            "namespace": "prod",
        }
        data = dict(zip(names, (request, self.new, self.old, variables), strict=True))
        return environment.compile(expression).eval(data=data).plain_value()

    def variables(self, spec: Json) -> Json:
        found: Json = {}
        for each in spec["variables"]:
            authorized = "authorizer" in each["expression"]
            found[each["name"]] = self.who in APPROVERS if authorized else self.evaluated(each["expression"], found)
        return found

    def refused(self) -> str | None:
        """Return the message of the first rule that refuses the request."""
        variables = self.variables(POLICY)
        for rule in POLICY["validations"]:
            if self.evaluated(rule["expression"], variables) is not True:
                told = rule.get("messageExpression")
                return str(self.evaluated(told, variables)) if told else str(rule["message"])
        return None


def names(*who: str) -> dict[str, str]:
    return {EDITORS: "\n".join(who)}


BOBS = names(BOB)
REVIEWED_BY_CAROL = {REVIEWED: f"3 {CAROL}"}
STAMPED = [
    ("who creates it", ALICE, None, None, [ALICE]),
    ("who fixes a typo, beside who wrote it", ALICE, BOBS, None, [BOB, ALICE]),
    ("who edits it again, once", BOB, names(BOB, ALICE), None, [BOB, ALICE]),
    ("the last of a team of three", CAROL, names(BOB, ALICE), None, [BOB, ALICE, CAROL]),
    ("a name with blanks", FRANK, BOBS, None, [BOB, FRANK]),
    ("who edits after a review, alone", ALICE, {**BOBS, **REVIEWED_BY_CAROL}, None, [ALICE]),
    ("an older review empties nothing", ALICE, {**BOBS, REVIEWED: f"2 {CAROL}"}, None, [BOB, ALICE]),
    ("the last editor of a version before", ALICE, {LAST_EDITOR: BOB}, None, [BOB, ALICE]),
    ("the last editor counts no longer", ALICE, {**BOBS, LAST_EDITOR: CAROL}, None, [BOB, ALICE]),
    ("where nobody was known", ALICE, {}, None, [ALICE]),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "who", "before", "_", "editors"), STAMPED, ids=[row[0] for row in STAMPED])
def test_an_edit_adds_its_author_and_both_policies_agree(
    sentence: str, who: str, before: dict[str, str] | None, _: None, editors: list[str]
) -> None:
    old = None if before is None else runbook(before)
    stamped = {**(before or {}), **names(*editors)}
    edit = Request(who, runbook(stamped, "edited", generation=4), old)
    assert edit.variables(STAMPS)["stamp"] == edit.variables(POLICY)["stamp"] == "\n".join(editors)
    assert edit.refused() is None


@pytest.mark.parametrize(
    "claim", [{}, names(ALICE), names(ALICE, BOB), names(BOB), names(BOB, ALICE, CAROL), names("")]
)
def test_an_editor_who_writes_another_set_is_told_the_right_one(claim: dict[str, str]) -> None:
    told = Request(ALICE, runbook(claim, "edited"), runbook(BOBS)).refused()
    assert told is not None
    assert f'set it to "{BOB}\\n{ALICE}"' in told


def test_a_number_that_only_its_type_tells_apart_is_an_edit() -> None:
    old = runbook(BOBS) | {"spec": {"id": 2**53 + 1}}
    for annotations, refused in ((BOBS, True), (names(BOB, ALICE), False)):
        new = runbook(annotations, generation=4) | {"spec": {"id": float(2**53)}}
        assert (Request(ALICE, new, old).refused() is not None) is refused


REVIEW = {**BOBS, REVIEWED: f"3 {ALICE}"}
WRITES = [
    ("somebody else reviews", ALICE, BOBS, REVIEW, None),
    ("somebody else reviews again", ALICE, {**BOBS, REVIEWED: f"2 {CAROL}"}, REVIEW, None),
    ("an editor does not", BOB, BOBS, {**BOBS, REVIEWED: f"3 {BOB}"}, "someone else has to review it"),
    ("nor in another's name", BOB, BOBS, REVIEW, f'incidents.dev/reviewed="3 {BOB}"'),
    ("nor of another generation", ALICE, BOBS, {**BOBS, REVIEWED: f"4 {ALICE}"}, f'incidents.dev/reviewed="3 {ALICE}"'),
    ("without the verb, nobody", "dave", BOBS, {**BOBS, REVIEWED: "3 dave"}, 'you need the verb "approve" on runbooks/rb'),
    ("a service account does not", BOT, BOBS, {**BOBS, REVIEWED: f"3 {BOT}"}, "a service account cannot review"),
    ("a review is not taken away", BOB, REVIEW, BOBS, "a review carries the generation"),
    ("what nobody is known to have written", ALICE, {}, {REVIEWED: f"3 {ALICE}"}, "edit it once"),
    ("the set stays without an edit", ALICE, BOBS, {}, f'it stays "{BOB}"'),
    ("nobody is added without an edit", ALICE, BOBS, names(BOB, ALICE), f'it stays "{BOB}"'),
    ("a review empties no annotation", ALICE, BOBS, {**REVIEW, EDITORS: ""}, f'it stays "{BOB}"'),
    ("a label changes nothing", ALICE, BOBS, BOBS, None),
    ("the last editor stays", ALICE, {LAST_EDITOR: BOB}, {LAST_EDITOR: ALICE}, "last-editor is what a version before wrote"),
    ("the last editor is reviewed", ALICE, {LAST_EDITOR: BOB}, {LAST_EDITOR: BOB, REVIEWED: f"3 {ALICE}"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "who", "before", "after", "told"), WRITES, ids=[row[0] for row in WRITES])
def test_without_an_edit_only_a_review_by_somebody_else_counts(
    sentence: str, who: str, before: dict[str, str], after: dict[str, str], told: str | None
) -> None:
    refused = Request(who, runbook(after), runbook(before)).refused()
    assert (refused is None) == (told is None)
    assert (told or "") in (refused or "")


@pytest.mark.parametrize("old", [None, runbook(BOBS)])
def test_a_review_comes_with_no_edit(old: Json | None) -> None:
    stamped = names(ALICE) if old is None else names(BOB, ALICE)
    told = Request(ALICE, runbook({**stamped, REVIEWED: f"3 {ALICE}"}, "edited"), old).refused()
    assert told == "a review is written when the Runbook is in place, not together with a change of it"


def test_a_name_of_several_lines_is_nobodys() -> None:
    told = Request("a\nb", runbook(names("a", "b")), None).refused()
    assert told == "a user name of several lines cannot be kept as an editor's"
