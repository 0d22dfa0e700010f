"""The environment: what is wrong with it is told by the variable's name."""

from datetime import timedelta
from pathlib import Path

import click
import pytest

from incident_operator import settings
from incident_operator.api.meta import Severity
from incident_operator.core.alerts.matching import AlertScope
from incident_operator.core.runbooks.reviews import UnaskedStep
from tests.environments import settings_of


def read(**variables: str) -> settings.Settings:
    return settings_of({f"INCIDENT_OPERATOR_{name}": value for name, value in variables.items()})


def test_nothing_set_serves_all_namespaces_and_receives_no_alerts() -> None:
    chosen = read()
    assert (chosen.namespaces, chosen.token_files, chosen.token_secret, chosen.webhook_port) == ((), (), None, 9095)


def test_lists_are_separated_by_commas_and_blanks_do_not_count() -> None:
    chosen = read(NAMESPACES="prod, staging,", TOKEN_FILES="/a,/b")
    assert chosen.namespaces == ("prod", "staging")
    assert chosen.token_files == (Path("/a"), Path("/b"))
    assert read(TOKEN_SECRET="tokens").token_keys == ("token",)
    assert read(TOKEN_SECRET="tokens", TOKEN_KEYS="token, next").token_keys == ("token", "next")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"WEBHOOK_PORT": "http"}, "INCIDENT_OPERATOR_WEBHOOK_PORT='http'"),
        ({"WEBHOOK_PORT": "²"}, "INCIDENT_OPERATOR_WEBHOOK_PORT"),
        ({"HEALTH_PORT": "65536"}, "INCIDENT_OPERATOR_HEALTH_PORT='65536'"),
        ({"CLOSED_TTL": "30 days"}, "INCIDENT_OPERATOR_CLOSED_TTL='30 days': a duration such as 720h"),
        ({"CLOSED_TTL": "-1h"}, "or 0"),
        ({"LOG_FORMAT": "xml"}, "one of auto, json, console"),
        ({"LEASE_SECONDS": "0"}, "INCIDENT_OPERATOR_LEASE_SECONDS='0': whole seconds, from 1 to 3600"),
        ({"LEASE_SECONDS": "1.5"}, "INCIDENT_OPERATOR_LEASE_SECONDS='1.5'"),
        ({"LEASE_NAME": "A Lease"}, "INCIDENT_OPERATOR_LEASE_NAME='A Lease': not a valid name of an object"),
        ({"LEASE_NAME": "a..lease"}, "INCIDENT_OPERATOR_LEASE_NAME='a..lease'"),
        ({"NOT_ACTING": "Shop"}, "INCIDENT_OPERATOR_NOT_ACTING='Shop': 'Shop' is not a valid name of a namespace"),
        ({"LEASE_NAMESPACE": "Ops"}, "INCIDENT_OPERATOR_LEASE_NAMESPACE='Ops'"),
        ({"TLS_CERT": "/tls.crt"}, "INCIDENT_OPERATOR_TLS_CERT and INCIDENT_OPERATOR_TLS_KEY: set both or none"),
        (
            {"TOKEN_FILES": "/a", "TOKEN_SECRET": "b"},
            "INCIDENT_OPERATOR_TOKEN_FILES and INCIDENT_OPERATOR_TOKEN_SECRET",
        ),
        ({"TOKEN_SECRET": "My Secret"}, "INCIDENT_OPERATOR_TOKEN_SECRET='My Secret'"),
        (
            {"TOKEN_SECRET": "b", "TOKEN_KEYS": "token,a/b"},
            "INCIDENT_OPERATOR_TOKEN_KEYS: 'a/b' is not a valid key of a Secret",
        ),
        (
            {"NAMESPACES": "prod,team-*"},
            "INCIDENT_OPERATOR_NAMESPACES='prod,team-*': 'team-*' is not a valid name of a namespace",
        ),
        ({"UNMATCHED_NAMESPACE": "On Call"}, "INCIDENT_OPERATOR_UNMATCHED_NAMESPACE='On Call'"),
        ({"NAMESPACES": "prod", "UNMATCHED_NAMESPACE": "oncall"}, "nobody would see its Incidents"),
        ({"GLOBAL_NAMESPACES": "Ops"}, "INCIDENT_OPERATOR_GLOBAL_NAMESPACES='Ops'"),
        (
            {"UNMATCHED_IGNORE": 'alertname="A"'},
            "INCIDENT_OPERATOR_UNMATCHED_IGNORE='alertname=\"A\"': write a JSON list of matchers, such as",
        ),
        ({"UNMATCHED_IGNORE": '{"a": 1}'}, "INCIDENT_OPERATOR_UNMATCHED_IGNORE='{\"a\": 1}': write a JSON list"),
        ({"UNMATCHED_IGNORE": "[1]"}, "INCIDENT_OPERATOR_UNMATCHED_IGNORE='[1]': write a JSON list"),
        (
            {"UNMATCHED_IGNORE": '["alertname"]'},
            "INCIDENT_OPERATOR_UNMATCHED_IGNORE='[\"alertname\"]': 'alertname': expected =, !=, =~ or !~",
        ),
        ({"UNMATCHED_IGNORE": '["a=~\\"(\\""]'}, "not a regular expression"),
        (
            {"NAMESPACES": "prod,dev", "GLOBAL_NAMESPACES": "prod,ops"},
            "INCIDENT_OPERATOR_GLOBAL_NAMESPACES: 'ops' is not one of INCIDENT_OPERATOR_NAMESPACES",
        ),
        (
            {"SEVERITY_CEILING": "Dev=P2"},
            "INCIDENT_OPERATOR_SEVERITY_CEILING='Dev=P2': 'Dev' is not a valid name of a namespace",
        ),
        (
            {"SEVERITY_CEILING": "dev=P5"},
            "INCIDENT_OPERATOR_SEVERITY_CEILING='dev=P5': 'dev=P5' is not of the form dev=P2",
        ),
        ({"SEVERITY_CEILING": "dev"}, "INCIDENT_OPERATOR_SEVERITY_CEILING='dev': 'dev' is not of the form dev=P2"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(variables: dict[str, str], named: str) -> None:
    with pytest.raises(settings.SettingError) as caught:
        read(**variables)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whose_alerts_are_whose_is_told_by_label_global_namespaces_and_ceilings() -> None:
    assert read().alert_scope == AlertScope("namespace")
    many = read(
        NAMESPACES="prod,dev,ops", NAMESPACE_LABEL="team", GLOBAL_NAMESPACES="ops", SEVERITY_CEILING="dev=P2, ops=P1"
    )
    ceilings = {"dev": Severity.P2, "ops": Severity.P1}
    assert many.alert_scope == AlertScope("team", frozenset({"ops"}), "", ceilings)
    assert read(NAMESPACES="prod").alert_scope.only == "prod"


def test_what_runs_unasked_is_named_step_by_step() -> None:
    digest = f"sha256:{'0' * 64}"
    listed = f'[{{"namespace":"prod","runbook":"rb","step":"block","digest":"{digest}"}}]'
    chosen = read(UNASKED=listed, NOT_ACTING="shop")
    assert chosen.leave.steps == {UnaskedStep("prod", "rb", "block", digest)}
    assert (chosen.leave.acts_in("prod"), chosen.leave.acts_in("shop")) == (True, False)
    assert chosen.unasked_problem == ""


def test_a_list_of_actions_as_older_versions_took_it_lets_nothing_run_and_is_told() -> None:
    chosen = read(UNASKED="sqlExecute,http", NOT_ACTING="shop")
    assert chosen.leave.steps == frozenset()
    assert not chosen.leave.acts_in("shop")
    assert chosen.unasked_problem.startswith("INCIDENT_OPERATOR_UNASKED: 'sqlExecute,http' is not a JSON list of")
    assert chosen.unasked_problem.endswith("the setting is ignored, and every such step asks")


@pytest.mark.parametrize(("written", "hours"), [("", 720), ("0", 0), ("0h", 0), ("36h", 36), ("1h30m", 1.5)])
def test_closed_incidents_are_kept_for_a_duration(written: str, hours: float) -> None:
    assert read(CLOSED_TTL=written).closed_ttl == timedelta(hours=hours)


def test_what_is_ignored_is_a_list_of_matchers_and_may_be_empty() -> None:
    assert read().unmatched_ignore == ('alertname="Watchdog"', 'alertname="InfoInhibitor"')
    assert read(UNMATCHED_IGNORE='["severity=~\\"none|info\\""]').unmatched_ignore == ('severity=~"none|info"',)
    assert read(UNMATCHED_IGNORE="[]").unmatched_ignore == ()


def test_an_option_comes_before_its_variable_and_an_empty_variable_counts_as_unset() -> None:
    assert settings_of({"INCIDENT_OPERATOR_WEBHOOK_PORT": "1"}, "--webhook-port=2").webhook_port == 2
    assert read(WEBHOOK_PORT="", NAMESPACES="", LEASE_NAME="") == read()


def test_the_kubeconfig_is_that_of_kubeconfig_and_of_no_variable_of_ours() -> None:
    assert settings_of({"KUBECONFIG": "/a:/b"}).kubeconfig == "/a:/b"
    assert settings_of({"KUBECONFIG": "/a"}, "--kubeconfig=/b").kubeconfig == "/b"
    assert (read(KUBECONFIG="/a").kubeconfig, read(CONTEXT="a").context) == (None, None)


def test_a_wrong_option_is_wrong_usage_and_a_wrong_variable_is_not() -> None:
    with pytest.raises(click.UsageError, match=r"a port is a number from 0 to 65535") as usage:
        settings_of({}, "--webhook-port=x")
    with pytest.raises(settings.SettingError) as wrong:
        read(WEBHOOK_PORT="x")
    assert (usage.value.exit_code, wrong.value.exit_code) == (2, 1)


def test_a_long_wrong_value_is_cut_in_the_message() -> None:
    with pytest.raises(settings.SettingError) as caught:
        read(WEBHOOK_PORT="9" * 500)
    assert len(str(caught.value)) < 200
