"""Credentials are masked in every form in which they travel, in one pass over all texts; and ordinary text is left alone."""

import base64
import html
import json
import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.core import action, masks
from incident_operator.core.masks import MASK, Credential, Masks
from incident_operator.core.outcomes import Failed

SECRET = """p&ss<w>or'd+/x\\y9Z"%ß n"""
HTML_NAMES = {
    "&": "&amp;",
    "<": "&lt;",
    "'": "&apos;",
    "+": "&plus;",
    "/": "&sol;",
    "\\": "&bsol;",
    "%": "&percnt;",
    "ß": "&szlig;",
}


def knowing(*values: str, connection: str = "db") -> Masks:
    return masks.of_values(connection, values)


def go_json(text: str) -> str:
    """As Go's encoding/json writes a text: all services in Go log so."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return escaped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def lower(percent: str) -> str:
    return "".join(part.lower() if n % 2 else part for n, part in enumerate(_split_percent(percent)))


def _split_percent(text: str) -> list[str]:
    parts = text.split("%")
    return [parts[0], *(piece for part in parts[1:] for piece in (f"%{part[:2]}", part[2:]))]


def base64_inside(before: str, after: str = "!") -> str:
    return base64.b64encode(f"{before}{SECRET}{after}".encode()).decode()


FORMS = {
    "itself": SECRET,
    "percent-encoded": quote(SECRET, safe=""),
    "percent-encoded in lower case": lower(quote(SECRET, safe="")),
    "percent-encoded twice": quote(quote(SECRET, safe=""), safe=""),
    "as a form": quote_plus(SECRET),
    "as Go's url.UserPassword": quote(SECRET, safe="-_.~$&+,;="),
    "in JSON": json.dumps(SECRET)[1:-1],
    "in JSON as UTF-8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "in JSON twice": json.dumps(json.dumps(SECRET))[3:-3],
    "in JSON with escaped slashes": json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "in Go's JSON": go_json(SECRET),
    "in Go's JSON twice": go_json(go_json(SECRET)),
    "in HTML": html.escape(SECRET),
    "in HTML of Go": SECRET.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;").replace('"', "&#34;"),
    "in HTML in Go's JSON": go_json(html.escape(SECRET)),
    "in SQL": SECRET.replace("'", "''"),
    "in SQL in JSON": json.dumps(SECRET.replace("'", "''"))[1:-1],
    "in a shell": SECRET.replace("'", "'\\''"),
    "in a shell, by Python": shlex.quote(SECRET)[1:-1],
    "in a shell in JSON": json.dumps(SECRET.replace("'", "'\\''"))[1:-1],
    "in a connection string": SECRET.replace("\\", "\\\\").replace("'", "\\'"),
    "in hexadecimal": SECRET.encode().hex(),
    "in upper hexadecimal": SECRET.encode().hex().upper(),
    "in Python": repr(SECRET)[1:-1],
    "in Python as ASCII": ascii(SECRET)[1:-1],
    "in Python as bytes": str(SECRET.encode())[2:-1],
    "in SQL in a shell": SECRET.replace("'", "''").replace("'", "'\\''"),
    "in a shell by Python in SQL": shlex.quote(SECRET)[1:-1].replace("'", "''"),
    "in JSON in HTML": html.escape(json.dumps(SECRET)[1:-1]),
    "in SQL in HTML": html.escape(SECRET.replace("'", "''")),
    "in JSON in a URL": quote(json.dumps(SECRET)[1:-1], safe=""),
    "in Go's JSON in a URL": quote(go_json(SECRET), safe=""),
    "in SQL as a form": quote_plus(SECRET.replace("'", "''")),
    "in HTML with all names": SECRET.translate(str.maketrans(HTML_NAMES)),
}
CODED = {
    "in base64": base64_inside("", ""),
    "in base64 of more": base64_inside("a"),
    "in base64 of more still": base64_inside("ab"),
    "in URL-safe base64": base64_inside("ab").replace("+", "-").replace("/", "_"),
    "in percent-encoded base64": quote(base64_inside(""), safe=""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_masked(form: str) -> None:
    assert knowing(SECRET).text(f"before <{form}> after") == f"before <{MASK}> after"


@pytest.mark.parametrize("write", [json.dumps, repr, ascii], ids=["JSON", "Python", "ASCII"])
def test_controls_are_found_however_they_are_escaped(write: Callable[[str], str]) -> None:
    assert MASK in knowing("a\bc\fd\re\x07f\x0bg").text(write("a\bc\fd\re\x07f\x0bg"))


@pytest.mark.parametrize("style", ["", "'", '"', "|", ">"])
@pytest.mark.parametrize("before", [0, 64, 70, 76])
def test_a_value_with_blanks_is_masked_though_yaml_goes_on_in_the_next_line(style: str, before: int) -> None:
    written = yaml.dump({"a": {"b": f"{'x' * before} correct horse battery 9"}}, default_style=style or None)
    masked = knowing("correct horse battery 9").text(written)
    assert MASK in masked
    assert not re.search("correct|horse|battery|9", masked)


def test_a_value_of_several_lines_is_masked_however_they_are_indented() -> None:
    written = yaml.dump({"a": {"b": "no-1\nno-2\nno-3"}}, default_style="|")
    assert "no-" not in knowing("no-1\nno-2\nno-3").text(written)


@pytest.mark.parametrize("form", CODED.values(), ids=CODED.keys())
def test_base64_is_masked_but_for_what_its_neighbours_share(form: str) -> None:
    before, _, after = knowing(SECRET).text(form).partition(MASK)
    assert len(before) <= 4
    assert len(after) <= 10


@given(st.text(min_size=8, max_size=40), st.text(max_size=12), st.text(max_size=12))
def test_a_secret_inside_other_base64_is_masked_at_any_offset(secret: str, before: str, after: str) -> None:
    encoded = base64.b64encode(f"{before}{secret.strip()}{after}".encode()).decode()
    assert (knowing(secret).text(encoded) != encoded) is masks.is_looked_for(secret)


@given(st.text(min_size=8, max_size=100))
def test_no_masked_text_holds_the_secret(secret: str) -> None:
    if masks.is_looked_for(secret):
        assert secret not in knowing(secret).text(f"a {secret} b {secret}")


@pytest.mark.parametrize(
    "value",
    ["", "   ", "abc", "app", "orders", "postgres", "Changeme", "PRODUCTION", "5432", "s3cr3t7", "00000000", "prod-db"],
)
def test_short_values_and_plain_words_are_not_looked_for(value: str) -> None:
    told = f"UPDATE {value} SET {value} = '{value}'"
    assert knowing(value).text(told) == told


@pytest.mark.parametrize("value", ["s3cr3t78", "correct horse", "hTrKqWzP", "abcdefghijklmnopqrstuvwxyz", "prod-db-1"])
def test_what_is_long_and_odd_enough_is_looked_for(value: str) -> None:
    assert knowing(value).text(f"({value})") == f"({MASK})"


@pytest.mark.parametrize(
    "value", ["postgres-prod-1", "postgres12345", "database-2024!", "Winter-database", "2025!production"]
)
def test_a_word_in_a_credential_is_no_cut_of_it(value: str) -> None:
    lines = ["x" * 600, "postgres", "database of kubernetes", "ends as postgres", "production", "a database…"]
    known = knowing(value)
    assert known.json(lines) is lines
    assert known.whose({"statement": "\n".join(lines)}) == ""
    assert known.text("x" * 600 + "\n" + value[:10]).endswith(MASK) is not value[:10].isalpha()


def test_json_is_masked_in_its_texts_and_nowhere_else() -> None:
    value = {SECRET: [1, True, None, 2.5, {"a": f"x{SECRET}"}], "b": (SECRET,)}
    assert knowing(SECRET).json(value) == {SECRET: [1, True, None, 2.5, {"a": f"x{MASK}"}], "b": [MASK]}


def test_what_holds_no_credential_is_the_very_same_value() -> None:
    value = {"rows": [{"id": "PP-5432", "n": 1}]}
    assert knowing(SECRET, "5432").json(value) is value
    assert knowing().json(value) is value


def test_it_is_told_whose_a_credential_is() -> None:
    known = Masks([Credential("first-s3cret", "db"), Credential("other-s3cret", "api")])
    assert known.whose({"a": ["x", "with other-s3cret"]}) == "api"
    assert known.whose({"first-s3cret": 1}) == "db"
    assert known.whose(["first-s3cre", "harmless", 7, None]) == ""


def test_a_value_of_several_lines_is_masked_in_a_text_and_in_lists_of_lines() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEFAASC\n-----END KEY-----"
    known = knowing(key)
    assert "kqhkiG9w" not in known.text(f"{key}\n")
    assert "kqhkiG9w" not in known.text(json.dumps({"key": key}))
    assert known.json(["a", *key.split("\n"), "b"]) == ["a", *["***"] * 4, "b"]
    assert known.json({"lines": ["b", "kqhkiG9w0BAQEFAASC", "-----END CERTIFICATE-----"]}) == {
        "lines": ["b", MASK, "-----END CERTIFICATE-----"]
    }
    assert knowing("first-s3cret\nkubernetes\nl4st-s3cret").text("kubernetes l4st-s3cret") == f"kubernetes {MASK}"
    assert knowing("two\nlines-9").json(["x two", "lines-9 y", "two"]) == ["x ***", "*** y", "two"]


@pytest.mark.parametrize("length", [40, 64, 65, 96, 300, 2000])
def test_a_long_value_is_masked_in_all_its_parts(length: int) -> None:
    value = "".join(f"{n:06d}-" for n in range(2000))[:length]
    assert knowing(value).text(f"<{value}>") == f"<{MASK}>"
    coded = base64.b64encode(value.encode()).decode()
    assert len(knowing(value).text(coded).replace(MASK, "")) <= 8


LONG = "".join(f"{n:03x}-" for n in range(200))


@pytest.mark.parametrize("kept", [8, 20, 31, 32, 33, 63, 64, 65, 500])
@pytest.mark.parametrize("value", [SECRET + "0123456789" * 6, LONG], ids=["short", "long"])
def test_what_a_cut_left_of_a_value_is_masked(value: str, kept: int) -> None:
    known, rest = knowing(value), value[:kept]
    for cut in ("", "…", "… (cut; 20000 characters)", "\nnext"):
        assert known.json(["x" * 600, f"is {rest}{cut}"]) == ["x" * 600, f"is {MASK}{cut}"]
    assert known.json(["x" * 600, f"{value[-kept:]} was"]) == ["x" * 600, f"{MASK} was"]
    assert known.text(f"it gives {rest}…, neither true nor false") == f"it gives {MASK}…, neither true nor false"


@pytest.mark.parametrize(
    "form",
    [quote(SECRET, safe=""), go_json(SECRET), html.escape(SECRET), ascii(SECRET)[1:-1]],
    ids=["%", "u", "&", "x"],
)
def test_a_cut_through_an_escape_leaves_nothing_either(form: str) -> None:
    known = knowing(SECRET)
    for length in range(28, len(form) + 1):
        assert known.text(f"{'x' * 600} {form[:length]}") == f"{'x' * 600} {MASK}"
        assert known.json(["x" * 600, f"{form[-length:]} was"]) == ["x" * 600, f"{MASK} was"]


def test_a_cut_through_a_character_leaves_nothing_either() -> None:
    value = "".join(f"ß€{n}" for n in range(5))
    known, raw = knowing(value), value.encode()
    for length in range(24, len(raw) + 1):
        left, right = (part.decode(errors="replace") for part in (raw[:length], raw[-length:]))
        assert known.json(["x" * 600, left, right]) == ["x" * 600, MASK, MASK]


def test_what_follows_a_credential_is_no_part_of_it() -> None:
    told = f"{'x' * 600}?password={SECRET}&next\n%0A{SECRET}\\n"
    assert knowing(SECRET).text(told) == told.replace(SECRET, MASK)


def test_evidence_is_masked_before_it_is_cut() -> None:
    value = "".join(f"{n:03x}-" for n in range(300))
    lines = ["y" * 1000] * 64 + [f"token {value}"] + ["z" * 1000] * 2
    result = knowing(value).json({"lines": lines})
    exhibit = action.evidence_of(Failed("x", "x", result=result))
    assert exhibit is not None
    assert "000-" not in exhibit.text


class Counting:
    """A program that counts how often, and over how much, it is asked to search."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.searches: list[int] = []

    def search(self, data: bytes, at: int) -> Any:
        self.searches.append(len(data) - at)
        return self.program.search(data, at)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    made: list[Counting] = []

    def counting(make: Any) -> Any:
        def program(*of: Any) -> Counting:
            made.append(Counting(make(*of)))
            return made[-1]

        return program

    for name in ("whole", "edges"):
        monkeypatch.setattr(masks, name, counting(getattr(masks, name)))
    return made


def test_a_search_is_one_pass_however_many_values_and_texts_there_are(counted: list[Counting]) -> None:
    values = [f"value-number-{n * 7919 % 10007:05d}-!" for n in range(1024)]
    known = knowing(*values)
    texts = {"rows": [{"id": f"{n:05d}"} for n in range(30_000)]}
    assert known.json(texts) is texts
    assert known.json(texts) is texts
    assert [len(each.searches) for each in counted] == [2, 2]
    assert {size for each in counted for size in each.searches} == {6 * 30_000 + 1}
    assert {known.text(f"is {value} known?") for value in values[::64]} == {"is *** known?"}


def test_nothing_that_was_learned_is_forgotten() -> None:
    values = [f"secret-number-{n}-" for n in range(1100)]
    known = knowing(*values)
    assert [known.text(f"<{value}>") for value in (values[0], values[500], values[-1])] == [f"<{MASK}>"] * 3


def test_where_there_is_more_to_look_for_than_can_be_nothing_is_shown_at_all() -> None:
    known = knowing(*(f"{n}!" * 1000 for n in range(100)))
    assert known.json({"a": ["harmless", 1]}) == {"a": [MASK, 1]}
    assert known.text("harmless") == MASK
    assert known.whose("harmless") == "db"


def test_a_value_that_fills_its_secret_costs_no_more_than_what_can_be_looked_for() -> None:
    value = "".join(chr(0x4E00 + n % 20_000) for n in range(340_000))
    before = masks._character.cache_info().misses
    assert knowing(value).text("x" * 600) == MASK
    assert masks._character.cache_info().misses - before < 50_000


@pytest.mark.parametrize("text", ["half a \ud800", "\udfff", "a\0b", "", "\n\n", "…", "ß" * 700])
def test_any_text_can_be_searched(text: str) -> None:
    known = knowing(SECRET)
    assert known.text(text) == text
    assert known.json([text, f"{text}{SECRET}{text}", text]) == [text, f"{text}{MASK}{text}", text]


def test_a_credential_is_not_in_what_is_printed_of_it() -> None:
    assert repr(Credential(SECRET, "db")) == "Credential(of db)"
