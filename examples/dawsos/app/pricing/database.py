"""The one way into the database: as the role whose name and password are in the environment."""

import os

import psycopg


def connect() -> psycopg.Connection:
    """Open a connection; the caller closes it. Raises psycopg.OperationalError within three seconds."""
    return psycopg.connect(
        host=os.environ.get("DATABASE_HOST", "database"),
        dbname="dawsos",
        user=os.environ["DATABASE_USER"],
        password=os.environ["DATABASE_PASSWORD"],
        connect_timeout=3,
    )
