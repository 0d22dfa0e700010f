"""`python -m proofs.field`: the tests that take minutes or need a real kubelet and controllers; writes docs/field.md when all of them ran."""

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime

import click
import pytest

from proofs import provenance
from proofs.field import page
from tests.crds import live

FOLDER = live.CLONE / "tests" / "proofs" / "field"
PAGE = live.CLONE / "docs" / "field.md"


def main() -> None:
    """Run the tests, print the table, and exit as pytest does; a run of some of them leaves the page alone."""
    parser = argparse.ArgumentParser(prog="python -m proofs.field", description=__doc__)
    parser.add_argument("--only", default="", help="only tests that match, as pytest's -k")
    chosen = parser.parse_args()
    rows = page.Rows()
    only = ["-k", chosen.only] if chosen.only else []
    code = pytest.main(["-q", "-m", "cluster", "-p", "no:cacheprovider", *only, str(FOLDER)], plugins=[rows])
    click.echo(page.tables(rows.all))
    if chosen.only:
        click.echo(f"{PAGE.name} is written by a run of all of them")
    elif rows.all:
        PAGE.write_text(page.page(rows.all, f"{datetime.now(UTC):%Y-%m-%d}", provenance.commit(), _versions()))
    sys.exit(code)


def _versions() -> str:
    served = live.kubectl("version", "--output", "json")
    system = f"Linux {'.'.join(platform.release().split('.')[:2])}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{page.kubernetes(served.stdout)}, {_containerd()}, {system}"


def _containerd() -> str:
    asked = ("get", "nodes", "--output", "jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}")
    try:
        return live.kubectl(*asked).stdout.replace("://", " ") or "unknown runtime"
    except subprocess.SubprocessError:
        return "unknown runtime"


if __name__ == "__main__":
    main()
