"""The receiver's certificate: used, refused with a reason, replaced while it runs."""

import asyncio
import ssl
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from incident_operator.receiver import server
from incident_operator.receiver.auth import TokenFiles, Tokens
from incident_operator.receiver.server import CertificateError, ReceiverSettings, keep_certificate_current, tls_context
from tests.receiver import messages
from tests.receiver.receiver_setup import Receivers


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    made = tmp_path / "tls.crt", tmp_path / "tls.key"
    make(*made)
    return made


def make(certificate: Path, key: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=30)


async def test_a_message_comes_over_tls(receivers: Receivers, tmp_path, pair):
    token = tmp_path / "token"
    token.write_text("the-token")
    settings = ReceiverSettings("127.0.0.1", 0, tls_certificate=pair[0], tls_key=pair[1])
    one = receivers.one
    handler = server.WebhookHandler(
        settings, one.intake, (one.incidents, one.runbooks), one.metrics, Tokens(TokenFiles([token]))
    )
    trusted = ssl.create_default_context(cafile=pair[0])
    async with server.serving(handler, settings) as port, aiohttp.ClientSession() as http:
        headers = {"Authorization": "Bearer the-token"}
        url = f"https://localhost:{port}/api/v1/alerts"
        async with http.post(url, data=messages.body(messages.alert()), headers=headers, ssl=trusted) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await http.post(url.replace("https", "http"), data=b"{}", headers=headers)
    assert len(receivers.incidents()) == 1


async def test_a_certificate_that_cannot_be_used_is_named(pair):
    with pytest.raises(CertificateError, match=r"cannot use .*tls.crt with .*missing: No such file"):
        tls_context(pair[0], pair[1].with_name("missing"))
    pair[1].write_text("no key")
    with pytest.raises(CertificateError, match=r"cannot use .*tls.crt with .*tls.key"):
        tls_context(*pair)


async def served_to_new_connections(context: ssl.SSLContext) -> bytes:
    listening = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return ssl.PEM_cert_to_DER_cert(pem)


async def test_a_new_certificate_is_used_without_a_restart_and_an_unusable_one_is_not(pair):
    context = tls_context(*pair)
    first = await served_to_new_connections(context)
    watching = asyncio.create_task(keep_certificate_current(context, *pair, every=0.01))
    pair[0].write_text("half written")
    await asyncio.sleep(0.1)
    assert await served_to_new_connections(context) == first
    make(*pair)
    new = ssl.PEM_cert_to_DER_cert(pair[0].read_text())
    for _ in range(500):
        if await served_to_new_connections(context) == new:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("the new certificate was never used")
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    assert new != first


async def test_a_certificate_that_stays_the_same_is_not_loaded_again(pair):
    with capture_logs() as logs:
        watching = asyncio.create_task(keep_certificate_current(tls_context(*pair), *pair, every=0.001))
        await asyncio.sleep(0.05)
        watching.cancel()
    assert logs == []


def test_both_files_are_needed(pair):
    with pytest.raises(ValueError, match="give both or none"):
        replace(ReceiverSettings(), tls_certificate=pair[0])
