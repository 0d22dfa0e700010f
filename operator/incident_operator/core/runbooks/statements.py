"""SQL as text: its first keyword, how many statements it holds, which values it binds. It is not parsed any further.

A first look only, so that a mistake is shown before an incident; at run time the role's privileges and the prepared,
single statement are what holds. Lexical rules: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>.
"""

import itertools
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW"})
CHANGING = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "SELECT"})
_OUTSIDE = frozenset(
    {
        *("pg_terminate_backend", "pg_cancel_backend", "pg_reload_conf", "pg_rotate_logfile", "pg_promote"),
        *("pg_switch_wal", "pg_create_restore_point", "pg_wal_replay_pause", "pg_wal_replay_resume"),
        *("pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup"),
        *("pg_logical_emit_message", "pg_log_backend_memory_contexts", "pg_log_standby_snapshot"),
        *("pg_create_physical_replication_slot", "pg_create_logical_replication_slot", "pg_drop_replication_slot"),
        *("pg_copy_physical_replication_slot", "pg_copy_logical_replication_slot", "pg_sync_replication_slots"),
        *("pg_replication_slot_advance", "pg_logical_slot_get_changes", "pg_logical_slot_get_binary_changes"),
        *("pg_replication_origin_create", "pg_replication_origin_drop", "pg_replication_origin_advance"),
        *("pg_stat_reset", "pg_stat_reset_shared", "pg_stat_reset_slru", "pg_stat_reset_backend_stats"),
        *("pg_stat_reset_single_table_counters", "pg_stat_reset_single_function_counters"),
        *("pg_stat_reset_replication_slot", "pg_stat_reset_subscription_stats", "pg_stat_statements_reset"),
        *("brin_summarize_new_values", "brin_summarize_range", "brin_desummarize_range", "gin_clean_pending_list"),
        *("pg_truncate_visibility_map", "heap_force_kill", "heap_force_freeze"),
        *("pg_buffercache_evict", "pg_buffercache_evict_relation", "pg_buffercache_evict_all"),
        *("lo_export", "pg_file_write", "pg_file_rename", "pg_file_unlink", "pg_file_sync"),
        *("dblink", "dblink_exec", "dblink_send_query", "dblink_open", "dblink_connect", "dblink_connect_u"),
        *("dblink_fetch", "dblink_get_result", "dblink_cancel_query"),
    }
)
"""Functions that come with PostgreSQL and act on sessions, the server, files or another database, also where a transaction only reads."""
_RUNNING_TEXTS = frozenset(
    {
        *("query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat", "ts_rewrite"),
        *("crosstab", "crosstab2", "crosstab3", "crosstab4", "connectby", "xpath_table"),
    }
)
"""Functions that come with PostgreSQL and run a query that is given to them as a text, which may call any of the others."""

_MARKS = r"\x00-\x23\x25-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f"
"""All of ASCII but letters, digits, `_` and `$`: what is not in here is a letter, and so a class of them is compiled at once."""
_LETTER, _LETTER_OR_DIGIT, _IN_WORD = rf"[^{_MARKS}$0-9]", rf"[^{_MARKS}$]", rf"[^{_MARKS}]"
_DOLLAR = rf"\$(?:{_LETTER}{_LETTER_OR_DIGIT}*)?\$"
_DOLLARS = re.compile(rf"(?=({_DOLLAR}))")
_PART = re.compile(
    r"(?P<space>[ \t\n\r\f\v]+|--[^\n\r]*)"
    r"|(?P<comment>/\*)"
    r"|(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|(?:[uU]&)?\"(?:[^\"]|\"\")*\")"
    rf"|(?P<dollar>{_DOLLAR})"
    rf"|(?P<word>{_LETTER}{_IN_WORD}*)"
    r"|(?P<mark>.)",
    re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_VERBS = frozenset({"SELECT", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"})
_DOWNCASE = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
UNREADABLE = "U&"
"""Stands among names for one that is written with escapes, or that may stand where this reader sees a text."""
ESCAPES = "has a name or a text with escapes, which are not supported here; write it without them"
"""What is wrong with a statement that calls something unreadable."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A `%` in a statement, where it is not doubled."""

    name: str | None
    """The name of `%(name)s`; None for a stray percent sign."""
    offset: int


@dataclass(frozen=True, slots=True)
class _Percent:
    """A percent sign and what belongs to it."""

    kind: str
    """`s`, `b` or `t` for a value, `%` for a doubled one, empty for a stray one."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    text: str
    start: int


_END = _Part("mark", ";", 0)


def first_keyword(statement: str) -> str:
    """Return the first word in capitals, past comments and parentheses; empty where there is none."""
    first = next((part for part in _parts(statement) if part.text != "("), None)
    return first.text.upper() if first is not None and first.kind == "word" else ""


def complaint(where: str, statement: str, allowed: frozenset[str]) -> str:
    """Say what is wrong with a statement's first word, or with what a read calls; empty where nothing is."""
    word = first_keyword(statement)
    if word not in allowed:
        return f"{where}: begins with {word or 'no keyword'}; allowed are {', '.join(sorted(allowed))}"
    return _acting(where, called(as_sent(statement))) if allowed is READING else ""


def _acting(where: str, names: frozenset[str]) -> str:
    """Say which of the functions that a read calls acts, or may."""
    if UNREADABLE in names:
        return f"{where}: {ESCAPES}"
    if acting := sorted(names & _OUTSIDE):
        return f"{where}: calls {acting[0]}, which changes something; use an sqlExecute step of mitigate or remediate"
    if running := sorted(names & _RUNNING_TEXTS):
        return f"{where}: calls {running[0]}, which runs a query from a text that is not checked here; write the query itself"
    return ""


def verb(statement: str) -> str:
    """Return what a statement does in capitals: its first word, behind WITH the one that follows; empty where that is not found."""
    parts = list(_parts(as_sent(statement)))
    if not parts or parts[0].text == "(":
        return "SELECT" if parts else ""
    if parts[0].text.upper() != "WITH":
        return parts[0].text.upper() if parts[0].kind == "word" else ""
    depth = 0
    for before, part in itertools.pairwise(parts):
        depth += {"(": 1, ")": -1}.get(before.text, 0)
        # what WITH names ends with a parenthesis, and a name that looks like a verb stands behind none
        if depth == 0 and before.text == ")" and part.text.upper() in _VERBS:
            return part.text.upper()
    return ""


def called(sql: str) -> frozenset[str]:
    """Return every name, as the catalog has it, that stands before a parenthesis: all functions that SQL calls, and more.

    It takes what the server sends, too: give a statement with placeholders to `as_sent` first.
    """
    parts = [*_parts(sql), _END]
    named = {at for at, part in enumerate(parts[:-1]) if parts[at + 1].text == "(" and _is_name(part)}
    names = {_name(parts[at]) for at in named if not _is_target(parts[max(0, at - 6) : at])}
    return frozenset(names | _unreadable(parts))


def attributes(sql: str) -> frozenset[str]:
    """Return every name behind a point: PostgreSQL takes `row.f` for `f(row)` where the row has no such column."""
    return frozenset(
        _name(part) for point, part in itertools.pairwise(_parts(sql)) if point.text == "." and _is_name(part)
    )


def may_use_defaults(statement: str) -> bool:
    """Tell whether it may use defaults of columns that its plan does not show: those of a MERGE, or by the word itself."""
    return any(part.text.upper() in {"MERGE", "DEFAULT"} for part in _parts(as_sent(statement)))


def as_sent(statement: str) -> str:
    """Return a statement as the server gets it: the name of a placeholder may hold anything, a quote too."""
    pieces, at = [], 0
    for each in _percents(statement, "sbt"):
        if each.kind:
            pieces += [statement[at : each.start], "%" if each.kind == "%" else "$1"]
            at = each.end
    return "".join([*pieces, statement[at:]])


def second_statement(statement: str) -> int | None:
    """Return the offset of what follows a semicolon, or None where it is a single statement."""
    ended = False
    for part in _parts(statement):
        if ended:
            return part.start
        ended = part.text == ";"
    return None


def placeholders(statement: str) -> tuple[Placeholder, ...]:
    """Return every `%(name)s` and every stray `%`; the driver looks for them everywhere, in quotes too."""
    found = (each for each in _percents(statement, "s") if each.kind != "%")
    return tuple(Placeholder(statement[e.start + 2 : e.end - 2] if e.kind else None, e.start) for e in found)


def in_quotes(statement: str) -> Callable[[int], bool]:
    """Return what tells whether the character at an offset stands inside quotes; the statement is read once."""
    quoted = [(part.start, part.start + len(part.text)) for part in _parts(statement) if part.kind == "quoted"]
    starts = [start for start, _ in quoted]

    def tell(offset: int) -> bool:
        at = bisect_right(starts, offset) - 1
        return at >= 0 and quoted[at][0] < offset < quoted[at][1]

    return tell


def _percents(statement: str, kinds: str) -> Iterator[_Percent]:
    """Yield every percent sign; a value's kind is one of `kinds`. The next parenthesis is looked for once, not by each."""
    at, closed = statement.find("%"), -1
    while at >= 0:
        end, kind = at + 1, ""
        if statement.startswith("%", at + 1):
            end, kind = at + 2, "%"
        elif statement.startswith("(", at + 1):
            if closed < end + 1:
                found = statement.find(")", end + 1)
                closed = found if found >= 0 else len(statement)
            letter = statement[closed + 1 : closed + 2]
            end, kind = (closed + 2, letter) if letter and letter in kinds else (end, "")
        yield _Percent(kind, at, end)
        at = statement.find("%", end)


def _is_name(part: _Part) -> bool:
    return part.kind == "word" or part.text[-1] == '"'


def _is_target(before: list[_Part]) -> bool:
    """Tell whether a name with this before it is the table that an INSERT goes to, maybe behind its schema."""
    while len(before) > 2 and before[-1].text == ".":
        before = before[:-2]
    return [part.text.upper() for part in before[-2:] if part.kind == "word"] == ["INSERT", "INTO"]


def _name(part: _Part) -> str:
    if part.kind == "word":
        return part.text.translate(_DOWNCASE)
    return part.text[1:-1].replace('""', '"') if part.text[0] == '"' else UNREADABLE


def _unreadable(parts: list[_Part]) -> set[str]:
    """Find a name whose escapes are of its own choice, and a text with escapes that another one continues.

    Where that text ends depends on what stands between them.
    """
    texts = itertools.pairwise(part.text for part in parts)
    return {
        UNREADABLE
        for text, after in texts
        if (text[:2] in {"e'", "E'"} and after[0] == "'") or (text[-1] == '"' and after.upper() == "UESCAPE")
    }


def _parts(statement: str) -> Iterator[_Part]:
    at, last = 0, {found[1]: found.start() for found in _DOLLARS.finditer(statement)}
    while at < len(statement):
        match = _PART.match(statement, at)
        if match is None:  # cannot be: the last alternative takes any character
            return
        start, at = at, _end(statement, match, last)
        if not match["space"] and not match["comment"]:
            is_quoted = match["quoted"] or (match["dollar"] and at > start + 1)
            kind = "quoted" if is_quoted else "word" if match["word"] else "mark"
            yield _Part(kind, statement[start:at], start)


def _end(statement: str, match: re.Match[str], last: Mapping[str, int]) -> int:
    """Return where a part ends; `last` says where each `$tag$` stands last: one that never closes is a mark."""
    if match["comment"]:
        return _after_comment(statement, match.start())
    tag = match["dollar"]
    if not tag:
        return match.end()
    return statement.index(tag, match.end()) + len(tag) if last[tag] >= match.end() else match.start() + 1


def _after_comment(statement: str, at: int) -> int:
    """Return the offset after a block comment; they nest in PostgreSQL."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(statement, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(statement)
