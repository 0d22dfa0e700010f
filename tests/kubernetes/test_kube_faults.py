"""What a broken connection or a refusing apiserver means to a caller: was the request applied, or not?"""

import pytest

from incident_operator.api.meta import API_VERSION
from incident_operator.kubernetes import apiserver, discovery, errors
from incident_operator.kubernetes.access import Access, AccessError, Credentials
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault

INCIDENTS = discovery.incidents("prod")


def incident(name="x"):
    return {"metadata": {"name": name}, "spec": {}}


@pytest.mark.parametrize(
    ("fault", "applied", "maybe_applied"),
    [
        (Fault.REPLY_LOST, True, True),
        (Fault.SILENT, True, True),
        (Fault.DROPPED, False, True),
        (Fault.INTERNAL_ERROR, False, True),
        (Fault.SERVICE_UNAVAILABLE, False, True),
        (Fault.TOO_MANY_REQUESTS, False, False),
        (Fault.UNAUTHORIZED, False, False),
    ],
)
async def test_a_failed_write_tells_whether_it_may_have_been_applied(api: FakeApiserver, fault, applied, maybe_applied):
    api.inject(fault, method="POST")
    async with apiserver.Kube(api.access(), timeout=0.5) as client:
        with pytest.raises(apiserver.Unavailable) as failed:
            await client.create(INCIDENTS, incident())
    assert failed.value.maybe_applied is maybe_applied
    assert (len(api.objects(INCIDENTS)) == 1) is applied


async def test_a_write_that_found_nobody_was_certainly_not_applied():
    async with FakeApiserver() as api:
        gone = api.access()
    async with apiserver.Kube(gone) as client:
        with pytest.raises(apiserver.Unavailable) as failed:
            await client.create(INCIDENTS, incident())
    assert failed.value.maybe_applied is False
    assert failed.value.message.startswith("the apiserver cannot be reached: ")


async def test_no_failed_write_is_sent_again_by_itself(api: FakeApiserver):
    api.inject(Fault.DROPPED, method="PATCH", times=3)
    async with apiserver.Kube(api.access()) as client:
        await client.create(INCIDENTS, incident())
        with pytest.raises(apiserver.Unavailable):
            await client.merge_patch(discovery.incidents("prod", "x"), {"spec": {"a": 1}})
    assert [request.method for request in api.writes] == ["POST", "PATCH"]


async def test_an_answer_that_is_not_json_is_still_told(api: FakeApiserver):
    error = errors.of_answer(502, b"<html>bad gateway</html>")
    assert isinstance(error, apiserver.Unavailable)
    assert error.message == "<html>bad gateway</html>"


async def test_whoever_acts_as_an_account_says_so_and_the_others_do_not(api: FakeApiserver):
    async with apiserver.Kube(api.access()) as client:
        account = client.acting_as("prod", "rb-pricing")
        await account.create(INCIDENTS, incident())
        await client.get(discovery.incidents("prod", "x"))
    assert [request.user for request in api.requests] == ["system:serviceaccount:prod:rb-pricing", ""]


async def test_a_dry_run_is_no_write(api: FakeApiserver):
    async with apiserver.Kube(api.access()) as client:
        await client.create(INCIDENTS, incident(), dry_run=True)
    assert api.writes == []
    assert len(api.requests) == 1


async def test_what_another_client_does_at_that_moment_is_a_conflict(api: FakeApiserver):
    async with apiserver.Kube(api.access()) as client:
        made = await client.create(INCIDENTS, incident())
        api.interleave(lambda: api.put({**made, "spec": {"by": "another"}}), method="PATCH")
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]}
        with pytest.raises(apiserver.Conflict):
            await client.json_patch(
                discovery.incidents("prod", "x"), [version, {"op": "add", "path": "/spec/by", "value": "us"}]
            )
    assert api.object(discovery.incidents("prod", "x"))["spec"] == {"by": "another"}


def tokens(*values):
    """Credentials that yield one value after the other, and the clock that makes them old."""
    clock = [0.0]
    left = list(values)

    async def read():
        return left.pop(0)

    return Credentials(read, lambda: clock[0]), clock


async def test_a_token_is_read_again_after_a_minute_and_not_before():
    credentials, clock = tokens("Bearer one", "Bearer two")
    assert [await credentials.header(), await credentials.header()] == ["Bearer one", "Bearer one"]
    clock[0] = 59.0
    assert await credentials.header() == "Bearer one"
    clock[0] = 60.0
    assert await credentials.header() == "Bearer two"


async def test_a_refused_token_is_read_again_at_once(api: FakeApiserver):
    credentials, _ = tokens("Bearer old", "Bearer new")
    api.inject(Fault.UNAUTHORIZED)
    async with apiserver.Kube(Access(api.access().server, credentials=credentials)) as client:
        with pytest.raises(apiserver.Unavailable):
            await client.get("/version")
        await client.get("/version")
    assert await credentials.header() == "Bearer new"


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.UNAUTHORIZED, Fault.INTERNAL_ERROR])
async def test_no_error_tells_the_token(api: FakeApiserver, fault):
    credentials, _ = tokens("Bearer s3cr3t-t0ken", "Bearer s3cr3t-t0ken")
    access = Access(api.access().server, credentials=credentials)
    api.inject(fault)
    async with apiserver.Kube(access) as client:
        with pytest.raises(apiserver.Unavailable) as failed:
            await client.create(INCIDENTS, incident())
    assert "s3cr3t" not in f"{failed.value} {failed.value!r} {access!r}"


async def test_credentials_that_cannot_be_renewed_are_an_apiserver_that_cannot_be_reached(api: FakeApiserver):
    async def read():
        raise AccessError("kubeconfig x: exec plug-in failed")

    access = Access(api.access().server, credentials=Credentials(read))
    async with apiserver.Kube(access) as client:
        with pytest.raises(apiserver.Unavailable) as failed:
            await client.get("/version")
    assert failed.value.maybe_applied is False
    assert failed.value.message == "kubeconfig x: exec plug-in failed"


def nested(levels: int = 100) -> object:
    made: object = {}
    for _ in range(levels):
        made = {"a": made}
    return made


@pytest.mark.parametrize("method", ["create", "merge_patch", "json_patch"])
async def test_a_write_whose_answer_cannot_be_read_may_have_been_applied(api: FakeApiserver, method):
    path = INCIDENTS if method == "create" else discovery.incidents("prod", "x")
    if method != "create":
        api.put(
            {
                "apiVersion": API_VERSION,
                "kind": "Incident",
                "metadata": {"name": "x", "namespace": "prod"},
                "spec": nested(),
            }
        )
    bodies = {"create": {**incident(), "spec": nested()}, "merge_patch": {"spec": {"b": 1}},
              "json_patch": [{"op": "test", "path": "/metadata/name", "value": "x"}]}  # fmt: skip
    async with apiserver.Kube(api.access()) as client:
        with pytest.raises(apiserver.Unavailable, match="nested more than 64 levels deep") as failed:
            await getattr(client, method)(path, bodies[method])
    assert failed.value.maybe_applied is True
    assert len(api.objects(INCIDENTS)) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 5000, b'{"metadata":{}}', b'{"metadata":{"resourceVersion":7}}', b'{"metadata":null}']
)  # fmt: skip
def test_an_answer_without_a_version_may_be_one_to_a_write_that_was_applied(body):
    with pytest.raises(apiserver.Unavailable, match="on /x has no resourceVersion") as failed:
        errors.version_written("/x", body)
    assert failed.value.maybe_applied is True


def test_of_an_answer_only_the_version_is_read_whatever_else_is_nested_in_it():
    managed = b'{"fieldsV1":' + b'{"f:a":' * 200 + b"{}" + b"}" * 200 + b"}"
    answer = b'{"metadata":{"managedFields":[' + managed + b'],"resourceVersion":"7"}}'
    assert errors.version_written("/x", answer) == "7"


async def test_what_is_nested_too_deep_is_not_read_but_can_be_deleted(api: FakeApiserver):
    api.put(
        {
            "apiVersion": API_VERSION,
            "kind": "Incident",
            "metadata": {"name": "x", "namespace": "prod"},
            "spec": nested(),
        }
    )
    async with apiserver.Kube(api.access()) as client:
        with pytest.raises(
            apiserver.ApiError, match="incidents/x is nested more than 64 levels deep, which is not read"
        ):
            await client.get(discovery.incidents("prod", "x"))
        await client.delete(discovery.incidents("prod", "x"))
    assert api.objects(INCIDENTS) == []


@pytest.mark.parametrize(
    ("method", "sent"), [("GET", False), ("POST", True), ("PATCH", True)]
)  # fmt: skip
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"[" * 60, b"\xff"])
def test_an_answer_of_2xx_that_is_not_json_is_none(method, sent, body):
    with pytest.raises(apiserver.Unavailable) as failed:
        errors.decoded(method, "/api/v1/pods", body)
    assert failed.value.maybe_applied is sent
    assert isinstance(errors.of_answer(500, body), apiserver.Unavailable)
