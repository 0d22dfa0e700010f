"""The client and the apiserver's rules that the operator relies on; against the fake and a real one alike."""

import pytest

from incident_operator.kubernetes import apiserver as kube
from incident_operator.kubernetes import discovery
from tests.kubernetes.apiservers import Apiserver, manifest
from tests.kubernetes.fake_apiserver import FakeApiserver


def guarded(made, *operations):
    """The patch the operator always sends: only this object, only this version of it."""
    meta = made["metadata"]
    tests = [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
    ]
    return [*tests, *operations]


async def test_a_created_object_has_an_identity_and_a_version(apiserver: Apiserver):
    made = await apiserver.widget(spec={"size": 1})
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    assert made["metadata"]["generation"] == 1
    assert await apiserver.client.get(apiserver.widgets("w")) == made


async def test_a_second_object_of_a_name_is_refused(apiserver: Apiserver):
    await apiserver.widget()
    with pytest.raises(kube.AlreadyExists) as refused:
        await apiserver.widget()
    assert refused.value.message == 'widgets.tests.incidents.dev "w" already exists'


async def test_an_absent_object_is_not_found(apiserver: Apiserver):
    with pytest.raises(kube.NotFound) as refused:
        await apiserver.client.get(apiserver.widgets("nobody"))
    assert refused.value.message == 'widgets.tests.incidents.dev "nobody" not found'


async def test_an_unknown_kind_is_not_found(apiserver: Apiserver):
    with pytest.raises(kube.NotFound):
        await apiserver.client.get("/apis/nothing.incidents.dev/v1/things")


async def test_an_object_without_a_name_is_invalid(apiserver: Apiserver):
    with pytest.raises(kube.Invalid):
        await apiserver.widget("")


async def test_a_guarded_patch_changes_the_status_and_nothing_else(apiserver: Apiserver):
    made = await apiserver.widget(spec={"size": 1})
    operations = guarded(made, {"op": "add", "path": "/status", "value": {"phase": "Running"}})
    patched = await apiserver.client.json_patch(apiserver.widgets("w", "status"), operations)
    assert patched["status"] == {"phase": "Running"}
    assert patched["spec"] == {"size": 1}
    assert patched["metadata"]["generation"] == 1
    assert patched["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


async def test_a_patch_can_answer_with_the_new_version_alone(apiserver: Apiserver):
    made = await apiserver.widget(spec={"size": 1})
    operations = guarded(made, {"op": "add", "path": "/status", "value": {"phase": "Running"}})
    version = await apiserver.client.json_patched(apiserver.widgets("w", "status"), operations)
    kept = await apiserver.client.get(apiserver.widgets("w"))
    assert kept["status"] == {"phase": "Running"}
    assert version == kept["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    with pytest.raises(kube.Conflict):
        await apiserver.client.json_patched(apiserver.widgets("w", "status"), operations)


async def test_a_patch_of_an_old_version_is_a_conflict_and_writes_nothing(apiserver: Apiserver):
    old = await apiserver.widget(spec={"size": 1})
    await apiserver.client.merge_patch(apiserver.widgets("w"), {"spec": {"size": 2}})
    with pytest.raises(kube.Conflict):
        await apiserver.client.json_patch(
            apiserver.widgets("w"), guarded(old, {"op": "replace", "path": "/spec/size", "value": 3})
        )
    assert (await apiserver.client.get(apiserver.widgets("w")))["spec"] == {"size": 2}


async def test_a_patch_of_an_object_that_was_replaced_is_a_conflict(apiserver: Apiserver):
    old = await apiserver.widget(spec={"size": 1})
    await apiserver.client.delete(apiserver.widgets("w"))
    await apiserver.widget(spec={"size": 1})
    operations = guarded(old, {"op": "add", "path": "/status", "value": {"phase": "Running"}})
    with pytest.raises(kube.Conflict):
        await apiserver.client.json_patch(apiserver.widgets("w", "status"), operations)
    assert "status" not in await apiserver.client.get(apiserver.widgets("w"))


async def test_a_tested_patch_below_a_field_that_is_gone_is_a_conflict(apiserver: Apiserver):
    made = await apiserver.widget(spec={})
    with pytest.raises(kube.Conflict):
        await apiserver.client.json_patch(
            apiserver.widgets("w"), guarded(made, {"op": "replace", "path": "/spec/box/size", "value": 3})
        )


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/box/size", "value": 3},
        {"op": "add", "path": "/spec/box/size", "value": 3},
        {"op": "remove", "path": "/spec/size"},
    ],
)
async def test_an_untested_patch_that_does_not_apply_is_invalid(apiserver: Apiserver, operation):
    await apiserver.widget(spec={})
    with pytest.raises(kube.Invalid):
        await apiserver.client.json_patch(apiserver.widgets("w"), [operation])


async def test_a_replaced_field_need_not_have_been_there(apiserver: Apiserver):
    await apiserver.widget(spec={})
    patched = await apiserver.client.json_patch(
        apiserver.widgets("w"), [{"op": "replace", "path": "/spec/size", "value": 3}]
    )
    assert patched["spec"] == {"size": 3}


async def test_a_merge_patch_that_names_an_old_version_is_a_conflict(apiserver: Apiserver):
    made = await apiserver.widget(spec={"size": 1})
    version = made["metadata"]["resourceVersion"]
    await apiserver.client.merge_patch(apiserver.widgets("w"), {"spec": {"size": 2}})
    with pytest.raises(kube.Conflict) as refused:
        await apiserver.client.merge_patch(
            apiserver.widgets("w"), {"metadata": {"resourceVersion": version}, "spec": {"size": 3}}
        )
    assert "the object has been modified" in refused.value.message


async def test_a_merge_patch_removes_what_is_null_and_keeps_the_rest(apiserver: Apiserver):
    await apiserver.widget(spec={"size": 1, "colour": "red"})
    patched = await apiserver.client.merge_patch(apiserver.widgets("w"), {"spec": {"size": None, "shape": "round"}})
    assert patched["spec"] == {"colour": "red", "shape": "round"}


async def test_the_status_cannot_be_changed_through_the_object_itself(apiserver: Apiserver):
    await apiserver.widget(status={"phase": "Forged"})
    patched = await apiserver.client.merge_patch(apiserver.widgets("w"), {"status": {"phase": "Forged"}})
    assert "status" not in patched


async def test_the_object_cannot_be_changed_through_its_status(apiserver: Apiserver):
    await apiserver.widget(spec={"size": 1})
    patched = await apiserver.client.merge_patch(
        apiserver.widgets("w", "status"),
        {"metadata": {"labels": {"a": "b"}}, "spec": {"size": 9}, "status": {"phase": "Running"}},
    )
    assert patched["spec"] == {"size": 1}
    assert patched["status"] == {"phase": "Running"}


async def test_the_status_of_an_object_that_is_nested_too_deep_to_be_read_is_written(apiserver: Apiserver):
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(kube.Unavailable, match="nested more than 64 levels deep"):
        await apiserver.widget(spec=deep)
    await apiserver.client.write_status(apiserver.widgets("w", "status"), {"phase": "Told"})
    told = await apiserver.client.get(apiserver.widgets("w"), depth=1000)
    assert told["status"] == {"phase": "Told"}


async def test_only_a_change_of_content_counts_a_generation(apiserver: Apiserver):
    await apiserver.widget(spec={"size": 1})
    labelled = await apiserver.client.merge_patch(apiserver.widgets("w"), {"metadata": {"labels": {"a": "b"}}})
    changed = await apiserver.client.merge_patch(apiserver.widgets("w"), {"spec": {"size": 2}})
    assert labelled["metadata"]["generation"] == 1
    assert changed["metadata"]["generation"] == 2


async def test_a_patch_that_changes_nothing_leaves_the_version_alone(apiserver: Apiserver):
    made = await apiserver.widget(spec={"size": 1})
    patched = await apiserver.client.merge_patch(apiserver.widgets("w"), {"spec": {"size": 1}})
    assert patched["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_dry_run_tells_and_does_nothing(apiserver: Apiserver):
    told = await apiserver.client.create(apiserver.widgets(), manifest("dry"), dry_run=True)
    assert told["metadata"]["name"] == "dry"
    with pytest.raises(kube.NotFound):
        await apiserver.client.get(apiserver.widgets("dry"))
    await apiserver.widget(spec={"size": 1})
    told = await apiserver.client.merge_patch(apiserver.widgets("w"), {"spec": {"size": 2}}, dry_run=True)
    assert told["spec"] == {"size": 2}
    assert (await apiserver.client.get(apiserver.widgets("w")))["spec"] == {"size": 1}


async def test_a_list_longer_than_a_page_comes_whole_and_once(apiserver: Apiserver):
    for number in range(7):
        await apiserver.widget(f"w-{number}")
    names = [item["metadata"]["name"] async for item in apiserver.client.list(apiserver.widgets(), chunk=3)]
    assert names == [f"w-{number}" for number in range(7)]


async def test_a_list_keeps_to_its_selector(apiserver: Apiserver):
    await apiserver.client.create(
        apiserver.widgets(), {**manifest("red"), "metadata": {"name": "red", "labels": {"colour": "red"}}}
    )
    await apiserver.widget("plain")
    selector = {"labelSelector": "colour=red"}
    assert [item["metadata"]["name"] async for item in apiserver.client.list(apiserver.widgets(), params=selector)] == [
        "red"
    ]


async def test_a_deleted_object_is_gone(apiserver: Apiserver):
    await apiserver.widget()
    await apiserver.client.delete(apiserver.widgets("w"))
    with pytest.raises(kube.NotFound):
        await apiserver.client.get(apiserver.widgets("w"))


async def test_a_delete_of_another_identity_is_a_conflict(apiserver: Apiserver):
    await apiserver.widget()
    with pytest.raises(kube.Conflict):
        await apiserver.client.delete(
            apiserver.widgets("w"), body={"preconditions": {"uid": "00000000-0000-4000-8000-999999999999"}}
        )
    assert await apiserver.client.get(apiserver.widgets("w"))


async def test_an_object_with_a_finalizer_waits_for_it(apiserver: Apiserver):
    body = manifest()
    body["metadata"]["finalizers"] = ["tests.incidents.dev/hold"]
    await apiserver.client.create(apiserver.widgets(), body)
    await apiserver.client.delete(apiserver.widgets("w"))
    waiting = await apiserver.client.get(apiserver.widgets("w"))
    assert waiting["metadata"]["deletionTimestamp"]
    await apiserver.client.merge_patch(apiserver.widgets("w"), {"metadata": {"finalizers": None}})
    with pytest.raises(kube.NotFound):
        await apiserver.client.get(apiserver.widgets("w"))


async def test_a_service_account_may_only_do_what_it_was_granted(apiserver: Apiserver):
    user = f"system:serviceaccount:{apiserver.namespace}:rb-nothing"
    apiserver.forbid(user, "get", "secrets")
    account = apiserver.client.acting_as(apiserver.namespace, "rb-nothing")
    with pytest.raises(kube.Forbidden) as refused:
        await account.get(discovery.secrets(apiserver.namespace, "db"))
    assert refused.value.message == (
        f'secrets "db" is forbidden: User "{user}" cannot get resource "secrets" in API group ""'
        f' in the namespace "{apiserver.namespace}"'
    )


async def test_one_nested_object_of_a_list_is_left_out_and_the_others_are_served(api: FakeApiserver) -> None:
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "whole", "namespace": "prod"}})
    for depth in (65, 1100):
        api.planted[discovery.configmaps("prod")] = b'{"metadata":{"name":"deep"},"data":%s1%s}' % (
            b'{"a":' * depth,
            b"}" * depth,
        )
        async with kube.Kube(api.access()) as client:
            found = [item["metadata"]["name"] async for item in client.list(discovery.configmaps("prod"))]
        assert found == ["whole"]
