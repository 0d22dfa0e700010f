"""`make demo`, or `.venv/bin/python hack/demo [--keep]`."""

import sys

from demonstration import program

if __name__ == "__main__":
    sys.exit(program.main(sys.argv[1:]))
