"""Mutants that change nothing anybody could see, each with the reason."""

EQUIVALENT: dict[tuple[str, str, str, str], str] = {}
"""By module, function, guard and what it became."""
