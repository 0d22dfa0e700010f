"""A process that has imported the operator and forks one whenever it is asked: a start costs no second of imports.

Each fork runs the real `incident-operator run` and is ended like any other process. The parent speaks over one socket:
in goes a line of JSON {environment, log, words, changes}, out comes the pid with a handle on the process (a pidfd, so
that nothing else can be meant by it, however late). A change is `module` or `module:argument`, whose `apply` is called first.
"""

import importlib
import json
import os
import signal
import socket
import sys
from typing import NoReturn

import kubernetes.aio.client
import kubernetes.aio.config
import kubernetes.aio.dynamic  # noqa: F401

import incident_operator.app  # noqa: F401 # what takes long to import, so that forks need not
from incident_operator import cli


def serve(line: socket.socket) -> None:
    """Fork until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while asked := line.recv(65536):
        order = json.loads(asked)
        pid = os.fork()
        if pid == 0:
            _become(order, line)
        handle = os.pidfd_open(pid)
        socket.send_fds(line, [str(pid).encode()], [handle])
        os.close(handle)
        _bury()


def _bury() -> None:
    """Collect those that ended, but for what was started just now."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def _become(order: dict[str, object], line: socket.socket) -> NoReturn:
    """Be an operator from here on."""
    line.close()
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[arg-type]
        for change in order["changes"]:  # type: ignore[attr-defined]
            module, _, argument = change.partition(":")
            importlib.import_module(module).apply(*filter(None, [argument]))
        sys.argv = ["incident-operator", *order["words"]]  # type: ignore[misc]
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
