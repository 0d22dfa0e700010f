"""Fixtures of the command line."""

from tests.root.fixtures import api, kubeconfig, logging_as_before, parts
