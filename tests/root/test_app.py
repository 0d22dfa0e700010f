"""The composition root: what it reads at the start, and what it drops."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from incident_operator import app
from incident_operator.api.meta import ObjectKey
from incident_operator.core.redactor import Redactor
from incident_operator.kubernetes import state
from incident_operator.process import Parts
from incident_operator.receiver.routing import RunbookIndex
from incident_operator.settings import Settings
from tests.kubernetes.fake_apiserver import FakeApiserver
from tests.kubernetes.fake_faults import Fault

PACK = ObjectKey("prod", "pack")
SPEC = {"title": "t", "serviceAccountName": "rb", "match": ['alertname="A"']}


def stored(kind: str, name: str, spec: Any, **more: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "prod"}
    return {"apiVersion": "incidents.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec, **more}


async def test_all_is_read_before_it_is_ready(api: FakeApiserver, parts: Parts) -> None:
    api.put(stored("Runbook", "pack", SPEC))
    api.put(stored("Incident", "pack-1", {"runbookRef": {"name": "pack"}}))
    assert not parts.inbox.incident_index.ready
    await app._list_all(parts)
    assert parts.inbox.incident_index.ready
    assert parts.inbox.runbook_index.ready
    assert parts.inbox.counts.open(PACK) == 1


async def test_one_object_that_cannot_be_read_does_not_keep_the_others_from_being_served(
    api: FakeApiserver, parts: Parts
) -> None:
    api.put(stored("Runbook", "a-strange-one", {**SPEC, "severity": "P9"}))
    api.put(stored("Runbook", "pack", SPEC))
    api.put(stored("Incident", "a-strange-one", {}, status={"phase": "Dreaming"}))
    api.put(stored("Incident", "pack-1", {"runbookRef": {"name": "pack"}}))
    with capture_logs() as logs:
        await app._list_all(parts)
    assert parts.inbox.runbook_index.names() == (("prod", "pack"),)
    assert parts.inbox.counts.open(PACK) == 1
    assert [one["name"] for one in logs if one["log_level"] == "error"] == ["a-strange-one"] * 2


async def test_a_start_whose_first_question_is_throttled_asks_it_again(
    api: FakeApiserver, kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_LOOK_EVERY", 0.01)
    api.inject(Fault.TOO_MANY_REQUESTS, path="/selfsubjectreviews", times=2)
    settings = Settings(kubeconfig=kubeconfig, health_address="127.0.0.1", health_port=0)
    async with app._built(settings, Redactor()):
        asked = [one for one in api.requests if one.path.endswith("/selfsubjectreviews")]
    assert len(asked) == 3


async def test_a_runbook_that_was_deleted_unseen_matches_nothing_after_its_next_check() -> None:
    class Gone:
        async def check(self, _: ObjectKey) -> bool:
            return False

    index = RunbookIndex()
    index.note({"metadata": {"namespace": "prod", "name": "pack"}, "spec": SPEC})
    assert await app._checking(Gone(), index)(PACK) is None  # type: ignore[arg-type]
    assert index.matching({"alertname": "A"}) == []
