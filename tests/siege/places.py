"""Puts the modules of hack/ on the import path, as the end-to-end tests do; import it first."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "hack" / "demo"), str(REPOSITORY / "hack" / "cluster")]
PAGE = REPOSITORY / "docs" / "siege.md"
