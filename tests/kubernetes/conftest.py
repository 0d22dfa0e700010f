"""Fixtures of the Kubernetes clients."""

from tests.kubernetes.fixtures import api, apiserver, clients, cluster, on_a_real_one, on_the_fake, widget_kind
