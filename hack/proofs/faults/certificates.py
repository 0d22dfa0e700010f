"""An authority and a server certificate for loopback, made anew for each use; the keys never leave their folder."""

import base64
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_DAYS = "2"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of an authority, and of a server on loopback that it vouches for."""

    authority: Path
    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """What a server on loopback shows."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def authority_data(self) -> str:
        """The authority as a kubeconfig holds it."""
        return base64.b64encode(self.authority.read_bytes()).decode()


def make(folder: Path) -> Certificates:
    """Write them into a folder."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    key = folder / "ca.key"
    _openssl("req", "-x509", *curve, "-keyout", key, "-out", made.authority, "-days", _DAYS, "-subj", "/CN=fault proxy")
    request, extensions = folder / "server.csr", folder / "server.ext"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl("req", "-new", *curve, "-keyout", made.key, "-out", request, "-subj", "/CN=127.0.0.1")
    signed_by = ("-CA", made.authority, "-CAkey", key, "-CAcreateserial", "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, *signed_by, "-days", _DAYS, "-out", made.certificate)
    return made


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
