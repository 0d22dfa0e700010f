"""`python -m proofs.storm`."""

import sys

import proofs.places  # noqa: F401 # isort: skip
from proofs.storm import program

if __name__ == "__main__":
    sys.exit(program.main())
