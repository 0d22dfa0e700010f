"""What kind of statement an SQL text begins with. A first look only: the role's privileges are what holds."""

import re

READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW"})
CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT"})
_SKIPPED = re.compile(r"\s+|--[^\n]*|\(")
_WORD = re.compile(r"[A-Za-z]+")


def first_keyword(statement: str) -> str:
    """Return the first word in capitals, past space, comments and parentheses; empty where there is none."""
    at = 0
    while at < len(statement):
        if statement.startswith("/*", at):
            at = _after_comment(statement, at)
        elif skipped := _SKIPPED.match(statement, at):
            at = skipped.end()
        else:
            break
    word = _WORD.match(statement, at)
    return word.group().upper() if word else ""


def _after_comment(statement: str, at: int) -> int:
    """Block comments nest in PostgreSQL."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(statement, at):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(statement)


def complaint(where: str, statement: str, allowed: frozenset[str]) -> str | None:
    """Say what is wrong with the statement's first word, or None."""
    word = first_keyword(statement)
    if word in allowed:
        return None
    return f"{where}: begins with {word or 'no keyword'}; allowed are {', '.join(sorted(allowed))}"
