"""`python -m storm`."""

import sys

import storm.places  # noqa: F401 # isort: skip
from storm import program

if __name__ == "__main__":
    sys.exit(program.main())
