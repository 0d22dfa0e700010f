"""`python -m proofs.siege`."""

import sys

import proofs.places  # noqa: F401 # isort: skip
from proofs.siege import program

if __name__ == "__main__":
    sys.exit(program.main())
