"""People of the cluster, each with a client certificate that the cluster itself signs. Works on any cluster."""

from __future__ import annotations

import base64
import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster import commands, files, kubeconfigs
from devcluster.console import ClusterError

SIGNER = "kubernetes.io/kube-apiserver-client"
SIGN_SECONDS = 30.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._:-]{0,62}")


@dataclass(frozen=True, slots=True)
class User:
    """The user name and groups that the apiserver will see."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """As openssl takes it."""
        return "".join(f"/O={group}" for group in self.groups) + f"/CN={self.name}"

    @property
    def request_name(self) -> str:
        """The name of the user's CertificateSigningRequest."""
        return f"user-{files.digest(word.encode() for word in (self.name, *self.groups))}"


def checked(user: User) -> User:
    """Return the user, or ClusterError where a name would not survive in a certificate's subject."""
    for name in (user.name, *user.groups):
        if NAME.fullmatch(name) is None:
            raise ClusterError(
                f"{name!r} is not a name for a user or group: expected letters, digits and @._:- (up to 63)"
            )
    return user


def ensure(kubectl: list[str], user: User, target: Path) -> None:
    """Write a kubeconfig for the user, unless target holds one that the cluster takes for the same user and groups.

    kubectl is the command line of an administrator's kubectl.
    """
    if target.exists() and _is_known(kubectl, user, target):
        return
    with tempfile.TemporaryDirectory() as directory:
        key, request = Path(directory, "key"), Path(directory, "request")
        new_key: list[str | Path] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key]
        commands.run(["openssl", "req", "-new", *new_key, "-subj", user.subject, "-out", request])
        certificate = _signed(kubectl, user, request.read_bytes())
        server, authority = _endpoint(kubectl)
        files.write(target, kubeconfigs.embedded(server, authority, user.name, certificate, key.read_bytes()), 0o600)


def signing_request(user: User, request: bytes) -> dict[str, Any]:
    """Return the CertificateSigningRequest object for a PEM request."""
    spec = {"signerName": SIGNER, "usages": ["client auth"], "request": base64.b64encode(request).decode()}
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": user.request_name},
        "spec": spec,
    }


def is_same_user(review: dict[str, Any], user: User) -> bool:
    """Tell whether a SelfSubjectReview shows this user with just these groups."""
    seen = review["status"]["userInfo"]
    return bool(seen["username"] == user.name and set(seen["groups"]) - {"system:authenticated"} == set(user.groups))


def _is_known(kubectl: list[str], user: User, target: Path) -> bool:
    try:
        review = commands.run([kubectl[0], "--kubeconfig", target, "auth", "whoami", "-o", "json"], timeout=15)
    except ClusterError:
        return False
    return is_same_user(json.loads(review), user)


def _signed(kubectl: list[str], user: User, request: bytes) -> bytes:
    commands.run([*kubectl, "delete", "csr", user.request_name, "--ignore-not-found"])
    commands.run([*kubectl, "create", "-f", "-"], stdin=json.dumps(signing_request(user, request)))
    commands.run([*kubectl, "certificate", "approve", user.request_name])
    deadline = time.monotonic() + SIGN_SECONDS
    while time.monotonic() < deadline:
        encoded = commands.run([*kubectl, "get", "csr", user.request_name, "-o", "jsonpath={.status.certificate}"])
        if encoded:
            return base64.b64decode(encoded)
        time.sleep(0.1)
    raise ClusterError(f"the cluster has not signed the certificate of {user.name} within {SIGN_SECONDS:.0f}s")


def _endpoint(kubectl: list[str]) -> tuple[str, bytes]:
    view = json.loads(commands.run([*kubectl, "config", "view", "--minify", "--raw", "--flatten", "-o", "json"]))
    cluster = view["clusters"][0]["cluster"]
    return cluster["server"], base64.b64decode(cluster["certificate-authority-data"])
