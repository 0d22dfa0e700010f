"""Fixtures of the SQL actions."""

from tests.actions.sql.fixtures import database, packs, pooled, pooler, reader, server, writer
