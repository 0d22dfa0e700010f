"""How far a long set-up has come: never more than all of it, and one line a minute where nobody watches."""

import io

import pytest
from demonstration import terminal
from devcluster import binary, progress
from rich.console import Console


@pytest.mark.parametrize(
    ("done", "total", "told"),
    [(0, 3232, "0 of 3232 (0 %)"), (1616, 3232, "1616 of 3232 (50 %)"), (3477, 2400, "2400 of 2400 (100 %)"),
     (3231, 3232, "3231 of 3232 (99 %)"), (5, 0, "1 of 1 (100 %)")],
)  # fmt: skip
def test_a_share_is_never_more_than_all(done, total, told):
    assert progress.share(done, total) == told


def test_modules_that_go_downloads_are_not_packages_that_it_compiles():
    log = "go: downloading k8s.io/kubernetes v1.36.3\ninternal/goarch\ngo: finding module\nk8s.io/api/core/v1\n"
    assert binary.packages_compiled(log) == 2


@pytest.mark.parametrize(
    ("environment", "terminal_there", "seconds"),
    [({}, True, 15), ({}, False, 60), ({progress.EVERY: "5"}, False, 5), ({progress.EVERY: "often"}, False, 60)],
)
def test_a_log_that_nobody_watches_has_one_line_a_minute(environment, terminal_there, seconds):
    assert progress.interval(environment, terminal=terminal_there) == seconds


def test_without_a_terminal_the_set_up_tells_of_itself_once_a_minute_at_most():
    now, written = [0.0], io.StringIO()
    console = Console(file=written, force_terminal=False, width=200)
    with terminal.set_up(console, 2) as shown:
        told = terminal.SetUp(console, shown.progress, lambda: now[0])
        for name in ("Kubernetes", "image"):
            with told.step(name) as tell:
                for _ in range(60):
                    now[0] += 5
                    tell(f"{now[0]:.0f} seconds")
    lines = [line.strip() for line in written.getvalue().splitlines() if "seconds" in line]
    assert lines == [f"{at} seconds" for at in range(15, 600, 60)]
