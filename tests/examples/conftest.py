"""Puts the demonstration's and the cluster's modules on the import path."""

import sys
from pathlib import Path

HACK = Path(__file__).resolve().parents[2] / "hack"
sys.path[:0] = [str(HACK / "demo"), str(HACK / "cluster")]
