"""An etcd and an apiserver of one test's own, on loopback: what nobody does to a cluster that others use can be done to them."""

import base64
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.operator_process import free_port, kubeconfig

TOKEN = "field-admin"  # of an apiserver on loopback that lives as long as its test
_SECONDS = 90.0


@dataclass
class ControlPlane:
    """Started and stopped as a whole; its data is a folder that can be kept and put back."""

    program: Path
    """The cluster's one binary, which is etcd and the apiserver too."""
    folder: Path
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose ports, and write what the apiserver reads."""
        self.etcd_port, self.peer_port, self.port = free_port(), free_port(), free_port()
        (self.folder / "tokens.csv").write_text(f'{TOKEN},field-admin,1,"system:masters"\n')
        key = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run([*key, "-out", self.folder / "accounts.key"], check=True, capture_output=True)
        public = [
            "openssl",
            "pkey",
            "-in",
            self.folder / "accounts.key",
            "-pubout",
            "-out",
            self.folder / "accounts.pub",
        ]
        subprocess.run(public, check=True, capture_output=True)

    @property
    def server(self) -> str:
        """Where it serves."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, once it serves."""
        authority = base64.b64encode((self.folder / "certs" / "apiserver.crt").read_bytes()).decode()
        return kubeconfig(self.folder / "kubeconfig", self.server, TOKEN, authority)

    def start(self) -> None:
        """Start both, and wait until the apiserver says that it is ready."""
        self.running = [self._spawn("etcd", *self._etcd())]
        until(lambda: answers(f"http://127.0.0.1:{self.etcd_port}/health"), "etcd serves")
        self.running.append(self._spawn("kube-apiserver", *self._apiserver()))
        until(lambda: answers(f"{self.server}/readyz"), "the apiserver is ready")

    def stop(self) -> None:
        """Stop both, the apiserver first."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGKILL if process.args[1] == "kube-apiserver" else signal.SIGTERM)  # type: ignore[index]
            process.wait(timeout=30)
        self.running.clear()

    def keep(self) -> None:
        """Keep a copy of all data; nothing runs meanwhile."""
        shutil.copytree(self.folder / "etcd", self.folder / "backup")

    def restore(self) -> None:
        """Put the copy in the place of the data; nothing runs meanwhile."""
        shutil.rmtree(self.folder / "etcd")
        shutil.copytree(self.folder / "backup", self.folder / "etcd")

    def _spawn(self, name: str, *flags: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen([str(self.program), name, *flags], stdout=log, stderr=log)

    def _etcd(self) -> tuple[str, ...]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self.peer_port))
        return (
            "--name=field", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=field={peer}",
            "--unsafe-no-fsync", "--log-level=warn",
        )  # fmt: skip

    def _apiserver(self) -> tuple[str, ...]:
        key, public = self.folder / "accounts.key", self.folder / "accounts.pub"
        return (
            "--bind-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={self.folder / 'certs'}",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}", "--service-cluster-ip-range=10.99.0.0/24",
            "--authorization-mode=RBAC", f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--disable-admission-plugins=ServiceAccount", "--service-account-issuer=https://field.invalid",
            f"--service-account-key-file={public}", f"--service-account-signing-key-file={key}",
            "--profiling=false", "--shutdown-delay-duration=0s",
        )  # fmt: skip


def answers(url: str) -> bool:
    """Tell whether a URL of ours answers with 200."""
    unchecked = ssl._create_unverified_context()
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=2, context=unchecked) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def until(holds: Callable[[], Any], what: str, seconds: float = _SECONDS) -> None:
    """Wait until something holds. Raises `TimeoutError`."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {seconds:g}s: {what}")
        time.sleep(0.1)
