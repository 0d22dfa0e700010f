"""Where results are kept, so that an interrupted matrix goes on where it was; changed code begins anew."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from demonstration.cluster import REPOSITORY

from proofs.faults.runs import Result, Run, result

FOLDER = REPOSITORY / ".faults"
_CODE = (
    "operator/incident_operator",
    "hack/proofs/faults",
    "hack/proofs/forking",
    "crds",
    "charts",
    "examples/quickstart",
    "examples/dawsos",
)
_KINDS = frozenset({".py", ".yaml", ".sql", ".json"})


class Store:
    """The results of one version of the code."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder / digest()
        self._folder.mkdir(parents=True, exist_ok=True)

    def results(self) -> dict[Run, Result]:
        """What is known already."""
        path = self._folder / "results.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return {known.run: known for known in map(result, map(json.loads, lines))}

    def add(self, known: Result) -> None:
        """Keep a result."""
        with (self._folder / "results.jsonl").open("a") as file:
            file.write(json.dumps(known.to_json()) + "\n")

    def golden(self, example: str) -> Mapping[str, int] | None:
        """The calls of an example's golden run."""
        path = self._folder / f"{example}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def keep_golden(self, example: str, seen: Mapping[str, int]) -> None:
        """Keep them."""
        (self._folder / f"{example}.json").write_text(json.dumps(seen, indent=1))


def digest() -> str:
    """Return what stands for the code: the product's, and that of the matrix itself."""
    found = hashlib.sha256()
    for path in _files():
        found.update(str(path.relative_to(REPOSITORY)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _files() -> Iterable[Path]:
    below = (path for folder in _CODE for path in (REPOSITORY / folder).rglob("*"))
    return sorted(path for path in below if path.suffix in _KINDS and "__pycache__" not in path.parts)
