"""Fixtures of the modules at the root of the package."""

from tests.root.fixtures import api, kubeconfig, logging_as_before, parts
