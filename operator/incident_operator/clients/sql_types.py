"""Which type of PostgreSQL is which type of an expression: one table, for the loaders of a session and for the docs.

A type decides, never a value: `numeric` is a double whether it holds 3, 0.1 or NaN. A type of a server that is in no row is a text,
as the server writes it; a test asks a server for all that it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from incident_operator.clients import sql_texts
from incident_operator.core.outcomes import Json


class Gives(StrEnum):
    """What an expression gets."""

    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    TEXT = "string"
    DURATION = "string that `duration(…)` reads"
    TIMESTAMP = "string that `timestamp(…)` reads"
    JSON = "what the JSON is"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Row:
    """Types of PostgreSQL that become the same."""

    types: tuple[str, ...]
    """Names in `pg_catalog.pg_type`."""
    gives: Gives
    example: str
    """An expression of SQL, for the docs and the tests."""
    becomes: Json
    """What the example is in an expression."""
    told: str = ""
    """What is to be known of it, for the docs."""
    read: Callable[[str], Json] | None = None
    """Makes a value of the text that the server sends; None where the driver's own loader does."""


TABLE: tuple[Row, ...] = (
    Row(("bool",), Gives.BOOL, "true", True),
    Row(("int2", "int4", "int8", "oid"), Gives.INT, "count(*)", 1),
    Row(
        ("numeric",),
        Gives.DOUBLE,
        "avg(2.5)",
        2.5,
        "also of `avg`, and of `sum` over `int8`. It has some 15 digits, and `v::text` has all; beyond its range it is infinite",
        sql_texts.number,
    ),
    Row(
        ("float4", "float8"),
        Gives.DOUBLE,
        "0.25::float8",
        0.25,
        "NaN and infinities too; with NaN every comparison but `!=` is false",
        sql_texts.number,
    ),
    Row(
        ("interval",),
        Gives.DURATION,
        "interval '1 day 2 hours'",
        "93600s",
        "a month has 30 days, a year 365.25, as in `extract(epoch …)`",
        sql_texts.duration,
    ),
    Row(
        ("timestamptz", "timestamp"),
        Gives.TIMESTAMP,
        "timestamptz '2025-10-21 02:30:04+02'",
        "2025-10-21T00:30:04Z",
        "UTC; one without a time zone is taken as UTC. `infinity`, BC and years above 9999 are as PostgreSQL writes them",
        sql_texts.moment,
    ),
    Row(
        ("date",), Gives.TEXT, "date '2025-10-21'", "2025-10-21", "`timestamp(v + 'T00:00:00Z')` is when it begins", str
    ),
    Row(("time", "timetz"), Gives.TEXT, "time '24:00:00'", "24:00:00", "", str),
    Row(
        ("text", "varchar", "bpchar", "name", "char", "xml", "refcursor", "cstring"),
        Gives.TEXT,
        "text 'new'",
        "new",
        "and an enum. `char(n)` keeps its blanks",
    ),
    Row(
        ("json", "jsonb"),
        Gives.JSON,
        """jsonb '{"a": [1, null]}'""",
        {"a": [1, None]},
        "a number beyond the range of a double is infinite",
        sql_texts.json,
    ),
    Row(("bytea",), Gives.TEXT, r"bytea '\x00ff'", "AP8=", "base64", sql_texts.octets),
    Row(
        ("money",), Gives.TEXT, "money '12.5'", "$12.50", "as `lc_monetary` of the server has it: compare `v::numeric`"
    ),
    Row(
        ("uuid",),
        Gives.TEXT,
        "uuid '0b9e2c6e-7c39-4a2f-8d7c-3f1f5a0b7c11'",
        "0b9e2c6e-7c39-4a2f-8d7c-3f1f5a0b7c11",
        "",
        str,
    ),
    Row(("inet", "cidr", "macaddr", "macaddr8"), Gives.TEXT, "inet '10.0.0.1'", "10.0.0.1", "", str),
    Row(("bit", "varbit"), Gives.TEXT, "B'101'", "101"),
    Row(("point", "line", "lseg", "box", "path", "polygon", "circle"), Gives.TEXT, "point '(1,2)'", "(1,2)"),
    Row(("tsvector", "tsquery", "gtsvector", "jsonpath"), Gives.TEXT, "tsquery 'a & b'", "'a' & 'b'"),
    Row(
        (
            *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"),
            *("regproc", "regprocedure", "regrole", "regtype"),
        ),
        Gives.TEXT,
        "regclass 'pg_class'",
        "pg_class",
        "the name",
    ),
    Row(
        ("xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot", "aclitem", "int2vector", "oidvector"),
        Gives.TEXT,
        "pg_lsn '16/B374D848'",
        "16/B374D848",
        "`pg_wal_lsn_diff(…)` is a `numeric`, `age(…)` an `int4`",
    ),
    Row(
        (
            *("pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list"),
            *("pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"),
        ),
        Gives.TEXT,
        "NULL::pg_node_tree",
        None,
        "of the server's own tables",
    ),
    Row(
        (
            *("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
            *("int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange", "tstzmultirange"),
        ),
        Gives.TEXT,
        "int4range(1, NULL)",
        "[1,)",
        "`lower(v)` and `upper(v)` are what the range is of",
        str,
    ),
    Row(
        ("record",),
        Gives.LIST,
        "row(1, NULL, 'a')",
        ["1", None, "a"],
        "each a string, or null. A composite type of your own is a string: select its fields",
    ),
    Row(("void",), Gives.TEXT, "pg_sleep(0)", ""),
)
"""By name; a domain is what it is made of."""
BEYOND: tuple[tuple[str, str], ...] = (
    ("an array of one of these", "list of what the elements are"),
    ("a domain", "what its base type is"),
    ("NULL, of any type", "null, with which only `==` and `!=` work: `v == null`"),
    ("any other type, or an array of one (of an extension, your own)", "string, as PostgreSQL writes it"),
)
"""What is in no row, for the docs."""


def is_of(gives: Gives, value: Any) -> bool:
    """Tell whether a value has the type that an expression was promised."""
    match gives:
        case Gives.BOOL:
            return isinstance(value, bool)
        case Gives.INT:
            return isinstance(value, int) and not isinstance(value, bool)
        case Gives.DOUBLE:
            return isinstance(value, float)
        case Gives.LIST:
            return isinstance(value, list)
        case Gives.JSON:
            return True
        case _:
            return isinstance(value, str)
