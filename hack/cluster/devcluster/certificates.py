"""The cluster's certificate authority and the certificates of its components, made with openssl. Users' are in users.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devcluster import commands, settings

DAYS = "3650"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate to be signed: who it is for, and the addresses and names it serves (none for a client)."""

    name: str
    common_name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """As openssl takes it."""
        organization = f"/O={self.organization}" if self.organization else ""
        return f"{organization}/CN={self.common_name}"

    @property
    def extensions(self) -> str:
        """Openssl's extension file for this certificate."""
        names = [f"IP:{address}" for address in self.addresses] + [f"DNS:{name}" for name in self.hostnames]
        lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature,keyEncipherment"]
        if not names:
            return "\n".join([*lines, "extendedKeyUsage=clientAuth"]) + "\n"
        return "\n".join([*lines, "extendedKeyUsage=serverAuth", f"subjectAltName={','.join(names)}"]) + "\n"


def wanted(config: settings.Settings) -> tuple[Certificate, ...]:
    """Every certificate of the control plane and its node."""
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    return (
        Certificate(
            "apiserver",
            "kube-apiserver",
            addresses=("127.0.0.1", str(config.service_network[1]), config.bridge_address),
            hostnames=("localhost", *service, f"kubernetes.default.svc.{settings.CLUSTER_DOMAIN}"),
        ),
        Certificate(
            "kubelet-server",
            settings.NODE_NAME,
            addresses=("127.0.0.1", config.bridge_address),
            hostnames=(settings.NODE_NAME, "localhost"),
        ),
        Certificate("apiserver-kubelet-client", "kube-apiserver", "system:masters"),
        Certificate("admin", "cluster-admin", "system:masters"),
        Certificate("controller-manager", "system:kube-controller-manager"),
        Certificate("scheduler", "system:kube-scheduler"),
        Certificate("kubelet", f"system:node:{settings.NODE_NAME}", "system:nodes"),
        Certificate("proxy", "system:kube-proxy"),
        Certificate("coredns", "system:coredns"),
    )


def exist(config: settings.Settings) -> bool:
    """Tell whether the authority is there: without it whatever runs can never be reached again."""
    return (config.certificates / "ca.crt").exists()


def ensure(config: settings.Settings) -> None:
    """Make what is missing. One that was cut off half-way has no .crt, which is written last, and is made again."""
    directory = config.certificates
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    _ensure_authority(directory)
    _ensure_service_account_key(directory)
    for certificate in wanted(config):
        if not (directory / f"{certificate.name}.crt").exists():
            _sign(directory, certificate)


def _ensure_authority(directory: Path) -> None:
    if (directory / "ca.crt").exists():
        return
    _new_key(directory / "ca.key")
    for stale in directory.glob("*.crt"):
        stale.unlink()  # another authority signed these
    unfinished = directory / "ca.unfinished"
    subject = [
        "-subj",
        "/CN=incident-operator-cluster",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
    ]
    commands.run(["openssl", "req", "-x509", "-key", directory / "ca.key", "-days", DAYS, *subject, "-out", unfinished])
    unfinished.replace(directory / "ca.crt")


def _ensure_service_account_key(directory: Path) -> None:
    if (directory / "service-accounts.pub").exists():
        return
    key, public = directory / "service-accounts.key", directory / "service-accounts.pub"
    _new_key(key)
    unfinished = directory / "service-accounts.unfinished"
    commands.run(["openssl", "pkey", "-in", key, "-pubout", "-out", unfinished])
    unfinished.replace(public)


def _sign(directory: Path, certificate: Certificate) -> None:
    key, request = directory / f"{certificate.name}.key", directory / f"{certificate.name}.csr"
    extensions, unfinished = directory / f"{certificate.name}.ext", directory / f"{certificate.name}.unfinished"
    _new_key(key)
    extensions.write_text(certificate.extensions)
    commands.run(["openssl", "req", "-new", "-key", key, "-subj", certificate.subject, "-out", request])
    authority: list[str | Path] = ["-CA", directory / "ca.crt", "-CAkey", directory / "ca.key", "-CAcreateserial"]
    commands.run(
        [
            "openssl",
            "x509",
            "-req",
            "-in",
            request,
            *authority,
            "-days",
            DAYS,
            "-extfile",
            extensions,
            "-out",
            unfinished,
        ]
    )
    unfinished.replace(directory / f"{certificate.name}.crt")
    request.unlink()
    extensions.unlink()


def _new_key(path: Path) -> None:
    commands.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])
    path.chmod(0o600)
