"""Which version of the product a page's figures were taken on."""

import subprocess
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCT = ("operator", "crds", "charts")


def commit(repository: Path = _REPOSITORY) -> str:
    """Return the commit that changed the product last, e.g. `commit 75f5b63`, and say where files differ from it."""
    changed = _git(repository, "status", "--porcelain", "--", *PRODUCT)
    at = _git(repository, "log", "-1", "--format=%h", "--", *PRODUCT)
    return f"commit {at or 'unknown'}{' with changes' if changed else ''}"


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True, check=False)
    return done.stdout.strip()
