"""docs/field.md: what `make field` writes of the tests that ran."""

from typing import Any, cast

import pytest

from proofs.field import page

ROWS = [
    page.Row("Jobs", "A quota of 0 is told: quota", "passed", 3.4),
    page.Row("Jobs", "A node that is gone is told.", "failed", 71.0),
    page.Row("Clocks", "An hour forth.", "skipped", 0.2),
]


def report(outcome: str, duration: float) -> pytest.TestReport:
    return pytest.TestReport("t", ("t", 1, "t"), {}, cast(Any, outcome), None, "call", [], duration)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One sentence", "One sentence"),
        ("The first one. The second one.", "The first one."),
        ("It waits 1.5 s, over\n    two lines.\n\n    More.", "It waits 1.5 s, over two lines."),
        ("", ""),
    ],
)
def test_a_row_tells_the_first_sentence_of_a_docstring(text: str, first: str) -> None:
    assert page.first_sentence(text) == first


def test_a_test_is_as_bad_as_its_worst_part_and_takes_as_long_as_all_of_them() -> None:
    made = [report("passed", 1.0), report("failed", 2.0), report("passed", 0.5)]
    assert (page.outcome(made), page.duration(made)) == ("failed", 3.5)


def test_the_page_has_a_table_for_each_module_and_tells_on_what_it_was_taken() -> None:
    text = page.page(
        ROWS, "2026-12-01", "commit 1234567", page.kubernetes('{"serverVersion": {"gitVersion": "v1.36.3"}}')
    )
    assert "on 2026-12-01, commit 1234567 (Kubernetes 1.36.3)" in text
    assert text.count("## ") == 2
    assert "| A quota of 0 is told: quota | as promised | 3 |" in text
    assert "| A node that is gone is told. | **failed** | 71 |" in text


def test_a_version_that_cannot_be_read_is_told_as_unknown() -> None:
    assert page.kubernetes("") == "unknown Kubernetes"
