"""What bounds a helper: its memory by the address space, its processor time by a timer that the kernel counts and ends it by.

Both hold whatever the process is in the middle of: a native library need not come back for them.
"""

import gc
import os
import resource
import signal
from pathlib import Path

from incident_operator.clients import helper_process


def cap_memory(more: int) -> None:
    """Let this process take so many bytes more than it has now; and leave no core, which would hold what it was told."""
    gc.collect()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _address_space() + more
    if most > more:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def start_clock(seconds: float) -> None:
    """End this process by SIGPROF once it has used so many seconds of the processor from now on, however long that takes."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def stop_clock() -> None:
    """Take that back."""
    signal.setitimer(signal.ITIMER_PROF, 0.0)


def end_for_memory() -> None:
    """End at once: what ran out of memory is in no state to go on."""
    os._exit(helper_process.OUT_OF_MEMORY)


def _address_space() -> int:
    """Return the bytes of this process' address space; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
