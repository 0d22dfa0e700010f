"""Fixtures of the actions: the two apiservers, and an HTTP service."""

from tests.actions.http_service import service
from tests.kubernetes.fixtures import api, apiserver, clients, cluster, image, on_a_real_one, on_the_fake, widget_kind
