"""Puts the demonstration's and the cluster's modules on the import path; a program imports it before all else."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "hack" / "demo"), str(REPOSITORY / "hack" / "cluster")]
