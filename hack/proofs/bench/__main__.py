"""`python -m proofs.bench [--quick] [--only ROW]`: measures beside the limit. The full run writes docs/benchmarks.md."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

import proofs.places  # noqa: F401 # isort: skip
from proofs.bench import at_work, in_store, page, rig
from proofs.bench.bare import Bare
from proofs.bench.harness import QUICK, Bench, Size
from proofs.bench.rows import MISSED, ROWS, Result
from proofs.places import REPOSITORY

MEASURES: dict[tuple[str, ...], Callable[[Bench], Awaitable[list[Result]]]] = {
    ("p50", "p99"): at_work.latency,
    ("storm", "intake"): at_work.storm,
    ("steps",): at_work.steps,
    ("writes", "conflicts", "cpu"): at_work.cpu,
    ("existing", "start", "closed"): in_store.existing,
    ("open", "idle"): in_store.at_rest,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proofs.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a small size: shows that it works, its figures say little"
    )
    parser.add_argument("--only", choices=sorted(ROWS), help="measure one row, and what is measured with it")
    return parser.parse_args()


async def _measured(on: rig.Rig, size: Size, only: str | None) -> list[Result]:
    results: list[Result] = []
    patient = aiohttp.TCPConnector(keepalive_timeout=3.0)  # less than the receiver's own
    async with Bare(on) as bare, aiohttp.ClientSession(connector=patient) as session:
        bench = Bench(on, bare, session, size, f"{int(time.time()) % 16**6:06x}")
        for rows, measure in MEASURES.items():
            if only is not None and only not in rows:
                continue
            began = time.monotonic()
            found = await measure(bench)
            results += found
            told = "; ".join(f"{one.row.key} {one.median:.2f} ({one.verdict})" for one in found)
            print(f"{time.monotonic() - began:5.0f} s  {told}", flush=True)
    return results


def main() -> int:
    """Measure, print, and say by the exit code whether everything that must be is kept."""
    chosen = _arguments()
    size = QUICK if chosen.quick else Size()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        on = rig.prepared(Path(folder))
        try:
            results = asyncio.run(_measured(on, size, chosen.only))
            kubernetes = on.kubernetes()
        finally:
            rig.left(on)
    print(page.table(results))
    if not chosen.quick and chosen.only is None:
        page.PAGE.write_text(page.page(results, size, kubernetes))
        print(f"written to {page.PAGE.relative_to(REPOSITORY)}")
    return 1 if any(result.verdict == MISSED for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
