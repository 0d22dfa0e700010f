"""Settings as `incident-operator run` reads them from an environment."""

import os
from collections.abc import Mapping

from click.testing import CliRunner

from incident_operator import cli, settings


def settings_of(environment: Mapping[str, str], *arguments: str) -> settings.Settings:
    """Return what a process with these variables, and no other setting, is told. Raises as `run` does."""
    own = {name: None for name in os.environ if name.startswith(settings.PREFIX) or name == "KUBECONFIG"}
    with CliRunner().isolation(env={**own, **environment}):
        return settings.checked(settings.Settings(**cli.run.make_context("run", list(arguments)).params))
