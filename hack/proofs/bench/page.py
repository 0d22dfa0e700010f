"""The table, for the terminal and for docs/benchmarks.md."""

import os
import platform
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from proofs import provenance
from proofs.bench.harness import Size
from proofs.bench.rows import MISSED, Result

PAGE = Path(__file__).resolve().parents[3] / "docs" / "benchmarks.md"
_LIBRARIES = ("incident-operator", "kopf", "aiohttp", "uvloop", "orjson", "pydantic")


def table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| what | result | spread | must | aim | verdict | beside |", "|---|---|---|---|---|---|---|"]
    for result in results:
        row, sign = result.row, "≥" if result.row.at_least else "≤"
        unit = f" {row.unit}" if row.unit else ""
        limits = f"{sign} {row.must:g}{unit} | {sign} {row.aim:g}{unit}"
        lines.append(
            f"| {row.what} | **{result.median:.2f}{unit}** | {result.spread} | {limits} | {result.verdict} | {result.beside} |"
        )
    return "\n".join(lines)


def page(results: Sequence[Result], size: Size, kubernetes: str) -> str:
    """Return docs/benchmarks.md."""
    how = "\n".join(_wrapped(f"- **{result.row.what}**: {result.row.how}.") for result in results)
    return f"""# Benchmarks

Written by `make bench`. Every figure is a ratio to a reference that ran in turn with it on the same machine (ours, reference,
reference, ours; {size.repetitions} times; median and spread), because absolute times say more about a machine than about a program. The
references: a bare aiohttp client that does the same writes on the same apiserver, and a textbook kopf operator
(`hack/proofs/bench/textbook.py`). Steps of the bench do nothing; all else is the whole program.

{_wrapped(f"{_machine()}; Kubernetes {kubernetes}, apiserver and etcd on the same cores; {_versions()}.")}

{table(results)}
{_missed(results)}
## What was measured

{how}

`python -m proofs.bench --only cpu` (with `PYTHONPATH=hack:.`) measures one row, `--quick` a small size; neither writes this page.
"""


def _missed(results: Sequence[Result]) -> str:
    missed = [result.row for result in results if result.verdict == MISSED]
    if not missed:
        return ""
    told = "\n".join(_wrapped(f"- **{row.what}**: {row.why_missed or 'not looked into yet'}.") for row in missed)
    return f"\n## Why rows miss what they must\n\n{told}\n"


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(text, 130, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    today = datetime.now(UTC).date().isoformat()
    return f"{today}, {provenance.commit()}: {os.cpu_count()} cores, {memory:.0f} GiB, Linux {'.'.join(platform.release().split('.')[:2])}, Python {platform.python_version()}"


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
