"""Paths of the apiserver."""

import pytest

from incident_operator.kubernetes import discovery


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (discovery.incidents("prod"), "/apis/incidents.dev/v1alpha1/namespaces/prod/incidents"),
        (discovery.incidents(None), "/apis/incidents.dev/v1alpha1/incidents"),
        (discovery.incidents("prod", "x", "status"), "/apis/incidents.dev/v1alpha1/namespaces/prod/incidents/x/status"),
        (discovery.secrets("prod", "db"), "/api/v1/namespaces/prod/secrets/db"),
        (discovery.pods("prod", "p", "log"), "/api/v1/namespaces/prod/pods/p/log"),
        (discovery.namespaces("prod"), "/api/v1/namespaces/prod"),
        (discovery.secrets("prod", "a b?c#d"), "/api/v1/namespaces/prod/secrets/a%20b%3Fc%23d"),
    ],
)
def test_a_path_leads_to_the_object(path, expected):
    assert path == expected


@pytest.mark.parametrize("name", ["..", ".", "../kube-system/secrets/x", "x/status", "%2e%2e"])
def test_a_name_cannot_lead_elsewhere(name):
    with pytest.raises(ValueError, match="cannot be the name"):
        discovery.secrets("prod", name)
    with pytest.raises(ValueError, match="cannot be the name"):
        discovery.secrets(name, "x")
