"""How the story looks: one line per thing that happens, with its age; commands as typed; output indented beneath."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

INDENT = " " * 9
PATIENCE_SECONDS = 10.0
"""Without a terminal, a step that takes longer shows what it is at; quick ones stay one line."""
EVERY_SECONDS = 60.0
"""Without a terminal, the least time between two such lines."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Story:
    """Tells what happens, counting from `began` (of the monotonic clock)."""

    console: Console
    began: float

    def chapter(self, text: str) -> None:
        """Open a part of the story."""
        self.console.print(f"\n[bold]{escape(text)}[/bold]", soft_wrap=True)

    def happens(self, text: str) -> None:
        """Tell one thing, with its age."""
        self.console.print(f"{duration(self.age):>7}  {escape(text)}", soft_wrap=True)

    def types(self, command: str, who: str = "") -> None:
        """Show a command as a person types it."""
        self.console.print(f"{INDENT}[cyan]{escape(who)}$ {escape(command)}[/cyan]", soft_wrap=True)

    def shows(self, output: str) -> None:
        """Show what a command printed, word for word."""
        for line in output.rstrip().expandtabs(18).splitlines():
            self.console.print(f"{INDENT}{line}", style="dim", soft_wrap=True, markup=False)

    @property
    def age(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self.began


@dataclass(slots=True)
class Seldom:
    """Lets one through, and then none for a while."""

    every: float = EVERY_SECONDS
    _next: float = 0.0

    def passes(self, now: float) -> bool:
        """Tell whether one may pass at this moment of the monotonic clock."""
        if now < self._next:
            return False
        self._next = now + self.every
        return True


@dataclass(frozen=True, slots=True)
class SetUp:
    """The set-up: each step folded to a line, with a bar for all of them."""

    console: Console
    progress: Progress
    clock: Callable[[], float] = time.monotonic
    seldom: Seldom = field(default_factory=Seldom)

    @contextmanager
    def step(self, text: str) -> Iterator[Tell]:
        """Show one step while it runs, and its duration when it is done; what it is told becomes its small print."""
        began, task = self.clock(), self.progress.task_ids[0]

        def tell(line: str) -> None:
            self.progress.update(task, description=escape(f"{text}: {line}"[: self.console.width // 2]))
            now = self.clock()
            if not self.console.is_terminal and now - began > PATIENCE_SECONDS and self.seldom.passes(now):
                self.console.print(f"    {line}", style="dim", soft_wrap=True, markup=False)

        self.progress.update(task, description=escape(text))
        yield tell
        self.progress.advance(task)
        self.console.print(f"  [green]✓[/green] {escape(text):<68} {duration(self.clock() - began):>6}", soft_wrap=True)


@contextmanager
def set_up(console: Console, steps: int) -> Iterator[SetUp]:
    """Show a progress bar over so many steps; it goes away when they are done."""
    columns = (TextColumn("  {task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=steps)
        yield SetUp(console, progress)


def duration(seconds: float) -> str:
    """A length of time as people read it: `8.2s`, `1m05s`; whole seconds where they are given so: `8s`."""
    if seconds < 60:
        return f"{seconds}s" if isinstance(seconds, int) else f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s"
