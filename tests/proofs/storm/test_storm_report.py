"""What a run says: tables, and what makes it fail."""

import pytest

from proofs.storm.abuse.fuzzing import Fuzzed
from proofs.storm.abuse.siege import MEMORY_LIMIT, Attacked, Good
from proofs.storm.ledger import Balance
from proofs.storm.report import Report, page, table, tables
from proofs.storm.rig import Line
from proofs.storm.scenarios.urgent import Waits

RIGHT = {"sent": 1, "acknowledged": 1, "stored": 1, "lost": (), "doubled": (), "invented": (), "wrong": ()}


def line(failed: str = "", **changes: tuple[str, ...]) -> Line:
    return Line("a storm", Balance(**{**RIGHT, **changes}), 1, 2, "2 x 200", failed=failed)


def attacked(memory: int = 0, seen: str = "400", *answers: int) -> Attacked:
    good = Good()
    good.answers.update(answers or (200,))
    good.seconds.append(0.1)
    return Attacked("an_attack", {seen: 1}, good, memory)


def test_a_run_in_which_all_is_right_has_no_problem():
    report = Report((line(),), Waits((0.1,), (0.2,), (0.1,)), (attacked(),), True, Fuzzed(1, 1, 1))
    assert report.problems == []


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (Report((line(lost=("a",)),)), "a storm: 1 lost, a for one"),
        (Report((line(doubled=("a", "b")),)), "a storm: 2 doubled, a for one"),
        (Report((line(invented=("a",)),)), "a storm: 1 never sent, a for one"),
        (Report((line(wrong=("a",)),)), "a storm: 1 wrong, a for one"),
        (Report((line(failed="too late"),)), "a storm: too late"),
        (Report(abuse=(attacked(MEMORY_LIMIT + 1),)), "an_attack: good posts {200: 1}, 384 MiB, answers right"),
        (Report(abuse=(attacked(0, "WRONG 200"),)), "an_attack: good posts {200: 1}, 0 MiB, 1 x WRONG 200"),
        (Report(abuse=(attacked(0, "400", 503),)), "an_attack: good posts {503: 1}, 0 MiB, answers right"),
        (Report(kept=False), "abuse: an alert of a good client is lost or doubled"),
        (Report(fuzzed=Fuzzed(1, 1, 1, "exit 77")), "fuzzing: exit 77"),
    ],
)
def test_whatever_is_wrong_is_a_problem(report, told):
    assert report.problems == [told]


def test_a_p0_alert_that_waits_too_long_is_told():
    assert "missed" in tables(Report(waits=Waits((0.1,), (0.4,), (0.1,))))
    assert "missed" not in tables(Report(waits=Waits((0.1,), (0.3,), (0.1,))))


def test_a_table_lines_up():
    assert table(("a", "bcd"), [("ef", "g")]) == "| a  | bcd |\n|----|-----|\n| ef | g   |"


def test_the_page_tells_date_commit_and_machine():
    written = page(Report((line(),)), "2026-01-01", "commit 75f5b63", "2 cores")
    assert "on 2026-01-01, commit 75f5b63 (2 cores)" in written
    assert "| a storm" in written
