"""`python -m incident_operator.helper PART`: a helper on its standard input, which is a socket of the operator's."""

import socket
import sys


def main(part: str) -> None:
    """Serve until the operator hangs up."""
    line = socket.socket(fileno=0)
    if part == "expressions":
        from incident_operator.helper import expressions  # noqa: PLC0415 # each part loads what it needs

        expressions.serve(line)
    if part == "queries":
        from incident_operator.helper import queries  # noqa: PLC0415

        queries.serve(line)


main(sys.argv[1])
