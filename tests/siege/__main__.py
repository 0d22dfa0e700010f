"""`python -m siege`."""

import sys

import siege.places  # noqa: F401 # isort: skip
from siege import program

if __name__ == "__main__":
    sys.exit(program.main())
