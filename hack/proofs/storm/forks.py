"""A process that has imported the operator once and forks it: a restart costs milliseconds instead of seconds.

What is forked runs the real command line with an environment and a log of its own. Commands come as JSON lines:
`{"run": [words], "environment": {…}, "log": path}` is answered with `{"pid": n}`, `{"reap": pid}` with the exit status.
When this process ends, however it does, everything that was forked is killed.
"""

import ctypes
import gc
import json
import os
import signal
import sys
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve commands until standard input ends."""
    from incident_operator import app, cli  # noqa: F401, PLC0415 # the reason for this process

    gc.freeze()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_obey(json.loads(line))) + "\n")
        sys.stdout.flush()


def _obey(command: dict[str, Any]) -> dict[str, int]:
    if "reap" in command:
        _, status = os.waitpid(command["reap"], 0)
        return {"status": status}
    pid = os.fork()
    if pid == 0:
        _become(command)
    return {"pid": pid}


def _become(command: dict[str, Any]) -> NoReturn:
    from incident_operator import cli  # noqa: PLC0415

    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(command["environment"])
    code = 70
    try:
        cli.main(command["run"], prog_name="incident-operator")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
