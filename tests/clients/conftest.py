"""Fixtures of the clients: an apiserver, an HTTP service, a database."""

from tests.actions.http_service import service
from tests.actions.sql.fixtures import database, server
from tests.kubernetes.fixtures import api, clients, cluster
