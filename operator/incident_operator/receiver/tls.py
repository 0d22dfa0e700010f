"""The receiver's certificate, which may be replaced while it runs."""

import asyncio
import ssl
from pathlib import Path

import structlog

_log = structlog.get_logger()
_LOOK_EVERY = 60.0


class CertificateError(Exception):
    """Certificate and key cannot be used; the message says why."""


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a server's TLS context (1.2 or newer). Raises `CertificateError`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(certificate, key)
    except OSError as error:
        raise CertificateError(f"cannot use {certificate} with {key}: {error.strerror or error}") from error
    return tls


async def keep_current(tls: ssl.SSLContext, certificate: Path, key: Path, every: float = _LOOK_EVERY) -> None:
    """Load certificate and key again whenever they changed, for connections made from then on; runs until cancelled."""
    seen = _seen(certificate, key)
    while True:
        await asyncio.sleep(every)
        now = _seen(certificate, key)
        if now == seen:
            continue
        try:
            context(certificate, key)  # tried on another context first: a failure would leave this one without a key
            tls.load_cert_chain(certificate, key)
        except (CertificateError, OSError) as error:
            _log.warning("The new certificate cannot be used", error=str(error))
        else:
            _log.info("Loaded the new certificate", file=str(certificate))
            seen = now


def _seen(certificate: Path, key: Path) -> tuple[int, ...] | None:
    try:
        statuses = (certificate.stat(), key.stat())
    except OSError:
        return None
    return tuple(number for status in statuses for number in (status.st_mtime_ns, status.st_ino))
