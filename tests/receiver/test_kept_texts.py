"""What an Incident keeps of an alert's texts, and that its matchers, groups and parameters go by the whole."""

from datetime import UTC, datetime

import pytest

from incident_operator.api.incident import Alert, Incident, IncidentSpec
from incident_operator.api.meta import Severity
from incident_operator.core.alerts import merging, received_alerts
from incident_operator.core.alerts.received_alerts import ReceivedAlert, kept_labels
from incident_operator.core.expressions import cel, evaluation
from incident_operator.core.expressions.cel import Scope
from incident_operator.core.sanitize import stored_size
from tests.receiver import messages, receiver_setup

START = datetime(2025, 10, 21, 0, 10, tzinfo=UTC)
LONG = "x" * 5000


def of(annotations: dict[str, str] | None = None, /, **labels: str) -> ReceivedAlert:
    return received_alerts.of({"alertname": "A", **labels}, START, annotations=annotations)


def stored(alert: ReceivedAlert) -> Alert:
    spec = merging.opened(merging.of("prod", "pack", [], {}), Severity.P1, [alert], 0)
    return spec.alerts[0]


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://runbooks.example.org/a?b=c#d", "https://runbooks.example.org/a?b=c#d"),
        ("HTTP://runbooks.example.org:8080/", "http://runbooks.example.org:8080/"),
        ("https://[2001:db8::1]:8080/x", "https://[2001:db8::1]:8080/x"),
        ("https://someone:s3cr3t@runbooks.example.org/a", "https://runbooks.example.org/a"),
        ("https://some@one:s3cr3t@runbooks.example.org/a", "https://runbooks.example.org/a"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("file:///etc/passwd", ""),
        ("//runbooks.example.org/a", ""),
        ("https:///a", ""),
        ("https://[::1", ""),
        ("a wiki page", ""),
        ("https://runbooks.example.org/a b", ""),
        ("https://runbooks.example.org/\n", ""),
        ("https://runbooks.example.org/\u202egpj", ""),
        ("https://runbooks.example.org/" + LONG, ""),
        ("", ""),
    ],
)
def test_only_http_urls_are_links_and_they_carry_no_password(url: str, link: str) -> None:
    alert = stored(of({"runbook_url": url, "dashboard_url": url}))
    assert (alert.runbook_url, alert.dashboard_url) == (link, link)
    assert "s3cr3t" not in alert.model_dump_json()


def test_the_three_that_on_call_reads_have_fields_of_their_own_and_others_stay_annotations() -> None:
    told = {
        "summary": "s",
        "description": "d" * 2000,
        "runbook_url": "https://a.example.org",
        "dashboard_url": "a dashboard",
    }
    alert = stored(of({**told, "team": "blue"}))
    assert (alert.summary, alert.runbook_url, alert.dashboard_url) == ("s", "https://a.example.org", "")
    assert alert.description == "d" * 1023 + "…"
    assert alert.annotations == {"dashboard_url": "a dashboard", "team": "blue"}
    told_to_expressions = evaluation.alert_variable(Incident(spec=IncidentSpec(alerts=[alert])))["annotations"]
    assert told_to_expressions == {**told, "description": alert.description, "team": "blue"}
    assert {"runbookURL", "description"} <= alert.to_json().keys()


def test_the_dashboard_that_grafana_names_in_a_field_is_kept_unless_an_annotation_says_another() -> None:
    field = {**messages.alert(), "dashboardURL": "https://grafana.example.org/d/1"}
    assert stored(messages.received(field)).dashboard_url == "https://grafana.example.org/d/1"
    both = {**field, "annotations": {"dashboard_url": "https://grafana.example.org/d/2"}}
    assert stored(messages.received(both)).dashboard_url == "https://grafana.example.org/d/2"


async def test_an_annotation_that_changes_costs_no_write(receivers: receiver_setup.Receivers) -> None:
    await receivers.one.take(messages.alert())
    writes, requests = len(receivers.writes), len(receivers.api.requests)
    await receivers.one.take(
        {**messages.alert(), "annotations": {"description": "otherwise", "runbook_url": "https://b"}}
    )
    assert (len(receivers.writes), len(receivers.api.requests)) == (writes, requests)


@pytest.mark.parametrize(
    "labels",
    [
        {"a": LONG},
        {"a": "ä" * 3000},
        {"a": "🙂" * 3000},
        {"a" * 3000: "x"},
        {f"label_{number}": "x" for number in range(200)},
        {f"label_{number}": "<>&" * 300 for number in range(64)},
        {f"l{number}": "\x1b[31m" * 100 for number in range(64)},
        {f"{'n' * 900}{number}": "&" * 1000 for number in range(64)},
    ],
    ids=range(8),
)
def test_labels_of_any_size_fit_into_an_incident_and_are_clean(labels: dict[str, str]) -> None:
    made = kept_labels(labels)
    assert len(made) <= 64
    assert stored_size(dict(made)) <= 64 * 1024
    assert all(len(text.encode()) <= 1024 and "\x1b" not in text for pair in made.items() for text in pair)
    alert = received_alerts.of({"alertname": "A", **labels}, START)
    spec = merging.opened(merging.of("prod", "p", [*labels][:16], labels), Severity.P1, [alert], 0)
    assert stored_size(merging.to_json(spec)) < 256 * 1024
    IncidentSpec.model_validate(merging.to_json(spec))


def test_labels_that_fit_are_kept_as_they_are() -> None:
    labels = {"alertname": "A", "k8s.pod.name": "web-0", "région": "zürich", "rows": "a\nb\tc"}
    assert kept_labels(labels) is labels


def test_of_too_many_labels_those_with_short_names_stay() -> None:
    many = {f"label_app_kubernetes_io_part_{number}": "x" for number in range(100)}
    assert {"alertname", "namespace", "pod"} <= kept_labels(
        {**many, "alertname": "A", "namespace": "n", "pod": "p"}
    ).keys()


def test_texts_make_room_before_labels_do() -> None:
    told = {f"note_{number}": LONG for number in range(32)}
    spec = IncidentSpec()
    spec = merging.merged(spec, [of(told, pod=str(number)) for number in range(50)], 0)
    assert [spec.labels_of(alert)["pod"] for alert in spec.alerts] == [str(at) for at in range(50)]
    assert spec.alerts[0].annotations
    assert not spec.alerts[-1].annotations


async def test_a_matcher_and_a_group_see_the_whole_label() -> None:
    runbook = messages.runbook(match=('query=~"x+end"',), group_by=("query",))
    async with receiver_setup.started(runbook) as receivers:
        await receivers.one.take(messages.alert(query=LONG + "end"), messages.alert(query=LONG + "other"))
        group = receivers.incident()["spec"]["group"]["query"]
        assert (len(group.encode()), group[-1]) == (1024, "…")
        await receivers.one.take(messages.alert(query=LONG + "xend"))
        assert len(receivers.incidents()) == 2


async def test_a_label_name_with_dots_or_any_other_character_is_a_label_name() -> None:
    dotted = {**messages.alert(), "labels": {"alertname": "A", "k8s.pod.name": "web-0", "région": "zürich", "a b": "c"}}
    match = ('k8s.pod.name="web-0"', '"région"=~"z.rich"', '"a b"="c"', '"k8s.node.name"=""')
    async with receiver_setup.started(messages.runbook(match=match, group_by=("k8s.pod.name", "région"))) as receivers:
        await receivers.one.take(dotted)
        assert receivers.incident()["spec"]["group"] == {"k8s.pod.name": "web-0", "région": "zürich"}
        incident = Incident.model_validate(receivers.incident())
    program = cel.compile_value('alert.labels["k8s.pod.name"]', Scope.PARAMETER)
    assert not isinstance(program, cel.CompileError)
    assert evaluation.alert_variable(incident)["labels"]["k8s.pod.name"] == "web-0"
