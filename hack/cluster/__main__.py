"""`python3 hack/cluster COMMAND`."""

import sys

from devcluster import program

if __name__ == "__main__":
    sys.exit(program.main(sys.argv[1:]))
