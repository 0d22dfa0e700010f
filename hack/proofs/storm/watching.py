"""Sees intents the moment the apiserver tells of them, in a thread of its own: the load generator's loop is busy."""

import json
import subprocess
import threading
import time
from types import TracebackType
from typing import Any, Self

from demonstration.cluster import Cluster

from proofs.storm.storm_namespace import NAMESPACE

_PATH = "/apis/incidents.dev/v1alpha1/namespaces/{}/incidents?watch=1"
_SELECTOR = "labelSelector=incidents.dev/severity%3DP0"


class Intents:
    """When the step of a name was first seen running, for each instance with a P0 Incident."""

    def __init__(self, cluster: Cluster, step: str, namespace: str = NAMESPACE) -> None:
        self._cluster = cluster
        self._step = step
        self._path = f"{_PATH.format(namespace)}&{_SELECTOR}"
        self.seen: dict[str, float] = {}
        """Instance → seconds since 1970."""

    def __enter__(self) -> Self:
        words = [self._cluster.program("kubectl"), "get", "--raw", self._path]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, env=self._cluster.environment)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            moment = time.time()
            self._note(json.loads(line)["object"], moment)

    def _note(self, incident: dict[str, Any], moment: float) -> None:
        steps = (incident.get("status") or {}).get("steps", [])
        if any(step["name"] == self._step and step["state"] != "Pending" for step in steps):
            self.seen.setdefault(incident["spec"]["group"]["instance"], moment)
