"""The tables of what `check` makes of YAML are what this kubectl makes of it."""

import json
from typing import Any

import pytest

from tests.core import test_yaml_source as tables
from tests.crds import live

pytestmark = pytest.mark.cluster

IDENTITY = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def read(text: str) -> list[Any]:
    """What kubectl would send, one object after the other."""
    done = live.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    found, rest = [], done.stdout.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


def _is_rounded(value: Any) -> bool:
    """Whether kubectl sends it as it is, and rounds what it prints."""
    return isinstance(value, int) and value >= 2**63


def indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def test_kubectl_makes_the_same_of_every_word_key_and_document() -> None:
    cases = [
        *((f"v: {word}\n", {"v": value}) for word, value in tables.WORDS.items() if not _is_rounded(value)),
        *((f"{word}: x\n", {key: "x"}) for word, key in tables.KEYS.items()),
        *tables.DOCUMENTS.items(),
    ]
    sent = read("---\n".join(f"{IDENTITY}data:\n{indented(text)}" for text, _ in cases))
    told = [{"text": text, "is": found.get("data")} for (text, _), found in zip(cases, sent, strict=True)]
    assert told == [{"text": text, "is": expected} for text, expected in cases]


@pytest.mark.parametrize("text", tables.REFUSED)
def test_kubectl_refuses_what_is_not_read(text: str) -> None:
    done = live.kubectl(
        "create", "--dry-run=client", "-o", "json", "-f", "-", stdin=f"{IDENTITY}data:\n{indented(text)}"
    )
    assert done.returncode == 1
    assert "error" in done.stderr
