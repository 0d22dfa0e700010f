"""Reading how to reach the apiserver, from every source."""

import json
import shutil
import ssl
import sys

import certifi
import pytest

from incident_operator.kubernetes import access, apiserver
from tests.crds import live
from tests.kubernetes.fake_apiserver import FakeApiserver


def kubeconfig(tmp_path, server, user, **context):
    path = tmp_path / "config"
    content = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", **context}},
            {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "elsewhere"}},
        ],
    }
    path.write_text(json.dumps(content))
    return str(path)


async def test_a_kubeconfig_names_server_namespace_and_token(tmp_path):
    reach = await access.load(kubeconfig(tmp_path, "http://127.0.0.1:1/", {"token": "abc"}, namespace="prod"))
    assert (reach.server, reach.namespace, await reach.token()) == ("http://127.0.0.1:1", "prod", "Bearer abc")


async def test_another_context_can_be_chosen(tmp_path):
    reach = await access.load(kubeconfig(tmp_path, "http://127.0.0.1:1", {}), context="there")
    assert reach.namespace == "elsewhere"
    assert await reach.token() is None


async def test_a_token_file_is_followed_when_it_rotates(tmp_path):
    (tmp_path / "token").write_text("one\n")
    reach = await access.load(kubeconfig(tmp_path, "http://127.0.0.1:1", {"tokenFile": "token"}))
    assert await reach.token() == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    reach.credentials.forget()
    assert await reach.token() == "Bearer two"


async def test_each_token_is_told_to_what_masks_it(tmp_path):
    token, told = tmp_path / "token", []
    token.write_text("first-token")
    reach = await access.load(kubeconfig(tmp_path, "http://127.0.0.1:1", {"tokenFile": str(token)}))
    reach.credentials.teach(told.append)
    token.write_text("second-token")
    reach.credentials.forget()
    await reach.token()
    await reach.token()
    assert told == ["first-token", "second-token"]


async def test_an_exec_plugin_is_asked(tmp_path):
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print({json.dumps(json.dumps(answer))})"],
    }
    reach = await access.load(kubeconfig(tmp_path, "http://127.0.0.1:1", {"exec": plugin}))
    assert await reach.token() == "Bearer fresh"


async def test_a_pod_uses_its_own_account_and_follows_its_token(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "_IN_CLUSTER", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    shutil.copy(certifi.where(), tmp_path / "ca.crt")
    (tmp_path / "namespace").write_text("incident-operator")
    (tmp_path / "token").write_text("one")
    reach = await access.load()
    assert (reach.server, reach.namespace) == ("https://10.96.0.1:443", "incident-operator")
    assert await reach.token() == "Bearer one"
    assert reach.tls is not None
    assert reach.tls.verify_mode is ssl.CERT_REQUIRED
    (tmp_path / "token").write_text("two")
    reach.credentials.forget()
    assert await reach.token() == "Bearer two"


@pytest.mark.parametrize(
    ("content", "context", "told"),
    [
        (None, None, "no such file"),
        ("{", None, "kubeconfig"),
        ("{}", None, "kubeconfig"),
        ("just text", None, "kubeconfig"),
        ('{"current-context": "x", "contexts": [], "clusters": [], "users": []}', None, "contexts"),
        ('{"current-context": "x", "contexts": [], "clusters": [], "users": []}', "y", "name y"),
    ],
)
async def test_an_unusable_kubeconfig_is_told_by_its_name(tmp_path, content, context, told):
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(access.AccessError, match=told) as failed:
        await access.load(str(path), context)
    assert str(path) in str(failed.value)


async def test_a_pod_without_its_certificate_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "_IN_CLUSTER", tmp_path)
    (tmp_path / "namespace").write_text("x")
    (tmp_path / "token").write_text("one")
    with pytest.raises(access.AccessError, match="the Pod's service account"):
        await access.load()


async def test_a_proxy_is_used(tmp_path):
    """An apiserver's host that nobody resolves is reached through the proxy that the kubeconfig names."""
    async with FakeApiserver() as api:
        path = tmp_path / "config"
        kubeconfig(tmp_path, "http://apiserver.invalid", {"token": "abc"})
        content = json.loads(path.read_text())
        content["clusters"][0]["cluster"]["proxy-url"] = api.access().server
        path.write_text(json.dumps(content))
        async with apiserver.Kube(await access.load(str(path))) as client:
            assert (await client.get("/version"))["major"] == "1"


@pytest.mark.cluster
async def test_a_client_certificate_identifies_the_caller():
    async with apiserver.Kube(await access.load(live.kubeconfig())) as client:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    assert "system:masters" in answer["status"]["userInfo"]["groups"]
