"""The checks that a Runbook passes, in the order in which they are told. Each is a function with a name that says it."""

from collections.abc import Callable, Iterator

from incident_operator.core.expressions.problems import Problem
from incident_operator.core.runbooks import (
    compiler_actions,
    compiler_references,
    compiler_stages,
    compiler_timing,
    compiler_untrusted,
    compiler_verify,
)
from incident_operator.core.runbooks.compiler_draft import Draft

Check = Callable[[Draft], Iterator[Problem]]

CHECKS: tuple[Check, ...] = (
    compiler_stages.names_are_unique,
    compiler_stages.effects_fit_their_stage,
    compiler_stages.mitigations_can_be_taken_back,
    compiler_stages.undos_take_something_back,
    compiler_stages.protection_is_for_mitigations,
    compiler_stages.probes_are_reads,
    compiler_stages.approvals_are_for_acts,
    compiler_verify.verify_steps_can_fail,
    compiler_timing.polls_can_end,
    compiler_timing.durations_are_some_time,
    compiler_references.names_exist,
    compiler_untrusted.labels_enter_by_parameters_only,
    compiler_untrusted.texts_reach_a_command_by_a_pattern,
    compiler_untrusted.acts_render_the_same_again,
    compiler_actions.connections_exist,
    compiler_actions.actions_keep_their_own_rules,
)


def run(draft: Draft) -> Iterator[Problem]:
    """Yield what all checks find. Whoever has enough of it stops: what is behind that costs nothing."""
    return (problem for check in CHECKS for problem in check(draft))
