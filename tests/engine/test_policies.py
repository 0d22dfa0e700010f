"""Whether approvals count: only while the policies are in place, unweakened, and refuse a forgery."""

from collections.abc import Mapping
from typing import Any

import pytest

from incident_operator import policies
from incident_operator.engine.readiness import Policies
from incident_operator.kubernetes import apiserver
from tests.engine.fake_cluster import FakeCluster

OPERATOR = "system:serviceaccount:ops:incident-operator"
GUARDS = policies.guards(OPERATOR)
REFUSED = apiserver.Forbidden(403, "Forbidden", "ValidatingAdmissionPolicy 'incident-approval' denied request")
NO_RIGHT = apiserver.Forbidden(403, "Forbidden", "incident-operator may not patch incidents")


class Apiserver(apiserver.Kube):
    """Holds the policies as shipped, and answers a forged approval as the test says."""

    def __init__(self, forgery: apiserver.ApiError | None = REFUSED) -> None:
        self.stored: dict[str, Any] = {guard.path: guard.manifest for guard in GUARDS}
        self.unreadable: apiserver.ApiError | None = None
        self.forgery = forgery
        self.tried: list[Any] = []

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Any:
        if self.unreadable is not None:
            raise self.unreadable
        if path not in self.stored:
            raise apiserver.NotFound(404, "NotFound", path)
        return self.stored[path]

    async def merge_patch(self, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Any:
        assert dry_run, "a forgery is never stored"
        self.tried.append(body["metadata"]["annotations"])
        if self.forgery is not None:
            raise self.forgery
        return {}


async def test_policies_that_are_in_place_and_refuse_a_forgery_are_trusted(pack: FakeCluster) -> None:
    api = Apiserver()
    assert await Policies(api, OPERATOR).problem(pack.incident(), "0123456789abcdef") == ""
    assert api.tried == [{"incidents.dev/approve": "0123456789ab nobody-who-approved"}]


async def test_without_an_incident_nothing_is_forged() -> None:
    api = Apiserver(forgery=None)
    assert await Policies(api, OPERATOR).problem() == ""
    assert api.tried == []


@pytest.mark.parametrize("forgery", [None, NO_RIGHT], ids=["it passes", "somebody else refuses it"])
async def test_a_forgery_that_no_policy_refuses_is_a_problem(
    pack: FakeCluster, forgery: apiserver.ApiError | None
) -> None:
    told = await Policies(Apiserver(forgery), OPERATOR).problem(pack.incident(), "0123456789abcdef")
    assert told.startswith("a forged approval was not refused: ")


@pytest.mark.parametrize("guard", GUARDS, ids=[guard.path.rpartition("/")[2] for guard in GUARDS])
async def test_each_policy_that_is_missing_or_weaker_is_a_problem(guard: policies.Guard) -> None:
    api = Apiserver()
    name = f"{guard.manifest['kind']} {guard.manifest['metadata']['name']}"
    api.stored[guard.path] = {**guard.manifest, "spec": {**guard.manifest["spec"], "paramKind": {"kind": "x"}}}
    assert (await Policies(api, OPERATOR).problem()).startswith(f"{name}: spec.paramKind was added: ")
    del api.stored[guard.path]
    assert (await Policies(api, OPERATOR).problem()).startswith(f"{name} is missing: ")


async def test_policies_that_may_not_be_read_are_a_problem() -> None:
    api = Apiserver()
    api.unreadable = NO_RIGHT
    assert (await Policies(api, OPERATOR).problem()).startswith("the admission policies cannot be read (")
