"""Whose alerts: a Runbook takes those of its own namespace, and none is more severe than its namespace may be."""

import pytest

from incident_operator.api.meta import ObjectKey, Severity
from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import AlertScope, Matcher
from tests.receiver import messages, receiver_setup
from tests.receiver.messages import alert, resolved

GLOBAL = AlertScope(global_namespaces=frozenset({"ops"}))
ONE = AlertScope(only="prod")
TEAM = AlertScope(label="team")
CAPPED = AlertScope(only="prod", ceilings={"prod": Severity.P2})


@pytest.mark.parametrize(
    ("scope", "namespace", "labels", "takes"),
    [
        pytest.param(AlertScope(), "prod", {"namespace": "prod"}, True, id="its own"),
        pytest.param(AlertScope(), "prod", {"namespace": "dev"}, False, id="another's"),
        pytest.param(AlertScope(), "prod", {}, False, id="nobody's, where many are served"),
        pytest.param(AlertScope(), "prod", {"namespace": ""}, False, id="an empty label is nobody's"),
        pytest.param(ONE, "prod", {}, True, id="nobody's, where one is served"),
        pytest.param(ONE, "prod", {"namespace": "dev"}, False, id="another's, where one is served"),
        pytest.param(GLOBAL, "ops", {"namespace": "dev"}, True, id="another's, in a global namespace"),
        pytest.param(GLOBAL, "ops", {}, True, id="nobody's, in a global namespace"),
        pytest.param(GLOBAL, "prod", {}, False, id="nobody's, beside a global namespace"),
        pytest.param(TEAM, "prod", {"team": "prod", "namespace": "dev"}, True, id="by another label"),
        pytest.param(TEAM, "prod", {"namespace": "prod"}, False, id="by another label only"),
    ],
)
def test_an_alert_goes_to_runbooks_of_its_namespace(scope, namespace, labels, takes):
    assert scope.takes(namespace, labels) is takes


WEB = ObjectKey("prod", "web")
REMEDY = 'Set namespace="prod" on the alert (in its rule, or by external_labels), or name prod in globalNamespaces of the operator.'


def test_where_only_runbooks_of_another_namespace_match_the_remedy_is_told():
    scope = AlertScope()
    assert scope.elsewhere([], {}) == ""
    assert scope.elsewhere([WEB], {}) == (
        "Runbook prod/web matches it, but a Runbook takes alerts of its own namespace only, and this one has no label namespace. "
        + REMEDY
    )
    many = [WEB, *(ObjectKey("shop", f"r{number}") for number in range(4))]
    told = scope.elsewhere(many, {"namespace": "dev"})
    assert told.startswith("Runbooks prod/web, shop/r0, shop/r1 and 2 more match it, but")
    assert 'this one has namespace="dev". ' in told


OTHERS = (
    'It takes only alerts with namespace="prod", because namespace prod is not in globalNamespaces; '
    'add namespace="prod" to match to end this message.'
)
WITHOUT = (
    'It takes only alerts with namespace="prod" or without that label, because namespace prod is not in globalNamespaces; '
    'add namespace="prod" to match, once all its alerts have it, to end this message.'
)
NONE = 'It takes no alert: alerts of its own namespace have namespace="prod", which match excludes.'


@pytest.mark.parametrize(
    ("scope", "match", "told"),
    [
        (AlertScope(), ["alertname=A"], OTHERS),
        (AlertScope(), ["alertname=A", "namespace=prod"], ""),
        (AlertScope(), ["alertname=A", "namespace=~prod"], ""),
        (AlertScope(), ["namespace=~prod|dev"], OTHERS),
        (AlertScope(), ["namespace!=dev"], OTHERS),
        (AlertScope(), ["namespace=dev"], NONE),
        (AlertScope(), ["namespace!~p.*"], NONE),
        (AlertScope(), ['namespace=""'], NONE),
        (ONE, ['namespace=""'], WITHOUT),
        (ONE, ["alertname=A"], WITHOUT),
        (TEAM, ["namespace=prod"], OTHERS.replace('namespace="', 'team="')),
        (AlertScope(global_namespaces=frozenset({"prod"})), ["alertname=A"], ""),
    ],
)
def test_a_runbook_is_told_which_alerts_it_does_not_get(scope, match, told):
    matchers = [made for made in map(matching.parse, match) if isinstance(made, Matcher)]
    assert scope.restricts("prod", matchers) == told


def test_a_severity_above_the_ceiling_of_its_namespace_is_lowered():
    assert [CAPPED.severity("prod", each) for each in Severity] == ["P2", "P2", "P2", "P3", "P4"]
    assert [CAPPED.severity("dev", each) for each in Severity] == list(Severity)
    assert CAPPED.lowered("prod", Severity.P2) == CAPPED.lowered("dev", Severity.P0) == ""
    assert CAPPED.lowered("prod", Severity.P0) == (
        "P0 counts as P2, the highest severity that the operator's settings allow in prod (severityCeiling)"
    )


async def test_no_namespace_takes_the_alerts_of_another():
    greedy = messages.runbook("greedy", match=('alertname=~".+"',), namespace="evil", severity="P0")
    async with receiver_setup.started(messages.runbook(), greedy, scope=AlertScope()) as receivers:
        receipt = await receivers.one.take(alert(namespace="prod"))
        assert (receipt.opened, receipt.unmatched) == (1, 0)
        assert len(receivers.incidents("prod")) == 1
        assert receivers.incidents("evil") == []


async def test_an_alert_that_fails_on_its_namespace_alone_is_counted_and_logged(capsys):
    async with receiver_setup.started(scope=AlertScope()) as receivers:
        receipt = await receivers.one.take(alert(), alert("Unknown"))
        assert (receipt.opened, receipt.unmatched) == (0, 2)
        assert receivers.one.counted("alerts_unmatched_total") == 2
        assert receivers.one.counted("alerts_elsewhere_total") == 1
    assert "Runbook prod/pack matches it, but" in capsys.readouterr().out


async def test_an_alert_that_fails_on_its_namespace_alone_is_stored_as_unmatched_and_resolves():
    async with receiver_setup.started(scope=AlertScope(), unmatched_namespace="ops") as receivers:
        await receivers.one.take(alert(namespace="dev"))
        (incident,) = receivers.incidents("ops")
        assert "runbookRef" not in incident["spec"]
        await receivers.one.take(resolved(namespace="dev"))
        (incident,) = receivers.incidents("ops")
        assert [each["status"] for each in incident["spec"]["alerts"]] == ["resolved"]


async def test_an_alert_resolves_where_it_was_stored_though_it_would_not_go_there_any_more():
    async with receiver_setup.started() as receivers:
        await receivers.one.take(alert())
        other = receiver_setup.replica(receivers.one.kube, messages.runbook(), scope=AlertScope())
        await other.watch()
        await other.take(resolved())
        assert [each["status"] for each in receivers.incident()["spec"]["alerts"]] == ["resolved"]


async def test_an_incident_is_no_severer_than_its_namespace_may_be():
    async with receiver_setup.started(messages.runbook(severity="P0"), scope=CAPPED) as receivers:
        await receivers.one.take(alert())
        incident = receivers.incident()
    assert incident["spec"]["severity"] == incident["metadata"]["labels"]["incidents.dev/severity"] == "P2"
