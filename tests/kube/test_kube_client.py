"""The client and the apiserver's rules that the operator relies on; against the fake and a real one alike."""

import pytest

from incident_operator.kubernetes import apiserver, discovery
from kube.fake_apiserver import FakeApiserver
from kube.worlds import World, manifest


def guarded(made, *operations):
    """The patch the operator always sends: only this object, only this version of it."""
    meta = made["metadata"]
    tests = [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
    ]
    return [*tests, *operations]


async def test_a_created_object_has_an_identity_and_a_version(world: World):
    made = await world.widget(spec={"size": 1})
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"]
    assert made["metadata"]["generation"] == 1
    assert await world.client.get(world.widgets("w")) == made


async def test_a_second_object_of_a_name_is_refused(world: World):
    await world.widget()
    with pytest.raises(apiserver.AlreadyExists) as refused:
        await world.widget()
    assert refused.value.message == 'widgets.tests.incidents.dev "w" already exists'


async def test_an_absent_object_is_not_found(world: World):
    with pytest.raises(apiserver.NotFound) as refused:
        await world.client.get(world.widgets("nobody"))
    assert refused.value.message == 'widgets.tests.incidents.dev "nobody" not found'


async def test_an_unknown_kind_is_not_found(world: World):
    with pytest.raises(apiserver.NotFound):
        await world.client.get("/apis/nothing.incidents.dev/v1/things")


async def test_an_object_without_a_name_is_invalid(world: World):
    with pytest.raises(apiserver.Invalid):
        await world.widget("")


async def test_a_guarded_patch_changes_the_status_and_nothing_else(world: World):
    made = await world.widget(spec={"size": 1})
    operations = guarded(made, {"op": "add", "path": "/status", "value": {"phase": "Running"}})
    patched = await world.client.json_patch(world.widgets("w", "status"), operations)
    assert patched["status"] == {"phase": "Running"}
    assert patched["spec"] == {"size": 1}
    assert patched["metadata"]["generation"] == 1
    assert patched["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


async def test_a_patch_can_answer_with_the_new_version_alone(world: World):
    made = await world.widget(spec={"size": 1})
    operations = guarded(made, {"op": "add", "path": "/status", "value": {"phase": "Running"}})
    version = await world.client.json_patched(world.widgets("w", "status"), operations)
    kept = await world.client.get(world.widgets("w"))
    assert kept["status"] == {"phase": "Running"}
    assert version == kept["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    with pytest.raises(apiserver.Conflict):
        await world.client.json_patched(world.widgets("w", "status"), operations)


async def test_a_patch_of_an_old_version_is_a_conflict_and_writes_nothing(world: World):
    old = await world.widget(spec={"size": 1})
    await world.client.merge_patch(world.widgets("w"), {"spec": {"size": 2}})
    with pytest.raises(apiserver.Conflict):
        await world.client.json_patch(
            world.widgets("w"), guarded(old, {"op": "replace", "path": "/spec/size", "value": 3})
        )
    assert (await world.client.get(world.widgets("w")))["spec"] == {"size": 2}


async def test_a_patch_of_an_object_that_was_replaced_is_a_conflict(world: World):
    old = await world.widget(spec={"size": 1})
    await world.client.delete(world.widgets("w"))
    await world.widget(spec={"size": 1})
    operations = guarded(old, {"op": "add", "path": "/status", "value": {"phase": "Running"}})
    with pytest.raises(apiserver.Conflict):
        await world.client.json_patch(world.widgets("w", "status"), operations)
    assert "status" not in await world.client.get(world.widgets("w"))


async def test_a_tested_patch_below_a_field_that_is_gone_is_a_conflict(world: World):
    made = await world.widget(spec={})
    with pytest.raises(apiserver.Conflict):
        await world.client.json_patch(
            world.widgets("w"), guarded(made, {"op": "replace", "path": "/spec/box/size", "value": 3})
        )


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/box/size", "value": 3},
        {"op": "add", "path": "/spec/box/size", "value": 3},
        {"op": "remove", "path": "/spec/size"},
    ],
)
async def test_an_untested_patch_that_does_not_apply_is_invalid(world: World, operation):
    await world.widget(spec={})
    with pytest.raises(apiserver.Invalid):
        await world.client.json_patch(world.widgets("w"), [operation])


async def test_a_replaced_field_need_not_have_been_there(world: World):
    await world.widget(spec={})
    patched = await world.client.json_patch(world.widgets("w"), [{"op": "replace", "path": "/spec/size", "value": 3}])
    assert patched["spec"] == {"size": 3}


async def test_a_merge_patch_that_names_an_old_version_is_a_conflict(world: World):
    made = await world.widget(spec={"size": 1})
    version = made["metadata"]["resourceVersion"]
    await world.client.merge_patch(world.widgets("w"), {"spec": {"size": 2}})
    with pytest.raises(apiserver.Conflict) as refused:
        await world.client.merge_patch(
            world.widgets("w"), {"metadata": {"resourceVersion": version}, "spec": {"size": 3}}
        )
    assert "the object has been modified" in refused.value.message


async def test_a_merge_patch_removes_what_is_null_and_keeps_the_rest(world: World):
    await world.widget(spec={"size": 1, "colour": "red"})
    patched = await world.client.merge_patch(world.widgets("w"), {"spec": {"size": None, "shape": "round"}})
    assert patched["spec"] == {"colour": "red", "shape": "round"}


async def test_the_status_cannot_be_changed_through_the_object_itself(world: World):
    await world.widget(status={"phase": "Forged"})
    patched = await world.client.merge_patch(world.widgets("w"), {"status": {"phase": "Forged"}})
    assert "status" not in patched


async def test_the_object_cannot_be_changed_through_its_status(world: World):
    await world.widget(spec={"size": 1})
    patched = await world.client.merge_patch(
        world.widgets("w", "status"),
        {"metadata": {"labels": {"a": "b"}}, "spec": {"size": 9}, "status": {"phase": "Running"}},
    )
    assert patched["spec"] == {"size": 1}
    assert patched["status"] == {"phase": "Running"}


async def test_the_status_of_an_object_that_is_nested_too_deep_to_be_read_is_written(world: World):
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(apiserver.Unavailable, match="nested more than 64 levels deep"):
        await world.widget(spec=deep)
    await world.client.write_status(world.widgets("w", "status"), {"phase": "Told"})
    told = await world.client.get(world.widgets("w"), depth=1000)
    assert told["status"] == {"phase": "Told"}


async def test_only_a_change_of_content_counts_a_generation(world: World):
    await world.widget(spec={"size": 1})
    labelled = await world.client.merge_patch(world.widgets("w"), {"metadata": {"labels": {"a": "b"}}})
    changed = await world.client.merge_patch(world.widgets("w"), {"spec": {"size": 2}})
    assert labelled["metadata"]["generation"] == 1
    assert changed["metadata"]["generation"] == 2


async def test_a_patch_that_changes_nothing_leaves_the_version_alone(world: World):
    made = await world.widget(spec={"size": 1})
    patched = await world.client.merge_patch(world.widgets("w"), {"spec": {"size": 1}})
    assert patched["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_dry_run_tells_and_does_nothing(world: World):
    told = await world.client.create(world.widgets(), manifest("dry"), dry_run=True)
    assert told["metadata"]["name"] == "dry"
    with pytest.raises(apiserver.NotFound):
        await world.client.get(world.widgets("dry"))
    await world.widget(spec={"size": 1})
    told = await world.client.merge_patch(world.widgets("w"), {"spec": {"size": 2}}, dry_run=True)
    assert told["spec"] == {"size": 2}
    assert (await world.client.get(world.widgets("w")))["spec"] == {"size": 1}


async def test_a_list_longer_than_a_page_comes_whole_and_once(world: World):
    for number in range(7):
        await world.widget(f"w-{number}")
    names = [item["metadata"]["name"] async for item in world.client.list(world.widgets(), chunk=3)]
    assert names == [f"w-{number}" for number in range(7)]


async def test_a_list_keeps_to_its_selector(world: World):
    await world.client.create(
        world.widgets(), {**manifest("red"), "metadata": {"name": "red", "labels": {"colour": "red"}}}
    )
    await world.widget("plain")
    selector = {"labelSelector": "colour=red"}
    assert [item["metadata"]["name"] async for item in world.client.list(world.widgets(), params=selector)] == ["red"]


async def test_a_deleted_object_is_gone(world: World):
    await world.widget()
    await world.client.delete(world.widgets("w"))
    with pytest.raises(apiserver.NotFound):
        await world.client.get(world.widgets("w"))


async def test_a_delete_of_another_identity_is_a_conflict(world: World):
    await world.widget()
    with pytest.raises(apiserver.Conflict):
        await world.client.delete(
            world.widgets("w"), body={"preconditions": {"uid": "00000000-0000-4000-8000-999999999999"}}
        )
    assert await world.client.get(world.widgets("w"))


async def test_an_object_with_a_finalizer_waits_for_it(world: World):
    body = manifest()
    body["metadata"]["finalizers"] = ["tests.incidents.dev/hold"]
    await world.client.create(world.widgets(), body)
    await world.client.delete(world.widgets("w"))
    waiting = await world.client.get(world.widgets("w"))
    assert waiting["metadata"]["deletionTimestamp"]
    await world.client.merge_patch(world.widgets("w"), {"metadata": {"finalizers": None}})
    with pytest.raises(apiserver.NotFound):
        await world.client.get(world.widgets("w"))


async def test_a_service_account_may_only_do_what_it_was_granted(world: World):
    user = f"system:serviceaccount:{world.namespace}:rb-nothing"
    world.forbid(user, "get", "secrets")
    account = world.client.acting_as(world.namespace, "rb-nothing")
    with pytest.raises(apiserver.Forbidden) as refused:
        await account.get(discovery.secrets(world.namespace, "db"))
    assert refused.value.message == (
        f'secrets "db" is forbidden: User "{user}" cannot get resource "secrets" in API group ""'
        f' in the namespace "{world.namespace}"'
    )


async def test_one_nested_object_of_a_list_is_left_out_and_the_others_are_served(api: FakeApiserver) -> None:
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "whole", "namespace": "prod"}})
    for depth in (65, 1100):
        api.planted[discovery.configmaps("prod")] = b'{"metadata":{"name":"deep"},"data":%s1%s}' % (
            b'{"a":' * depth,
            b"}" * depth,
        )
        async with apiserver.Kube(api.access()) as client:
            found = [item["metadata"]["name"] async for item in client.list(discovery.configmaps("prod"))]
        assert found == ["whole"]
