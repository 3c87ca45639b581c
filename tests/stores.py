"""Both databases, real: a SQLite file, and a PostgreSQL started for these tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from huaxiang.store import Database, open_database
from servers import PostgresServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("pgstore"), "store-pass")
    try:
        yield server
    finally:
        server.close()


def new_url(server: PostgresServer) -> str:
    """The URL of an empty database."""
    name = f"store{next(_numbers)}"
    server.ask(f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    where = tmp_path / "store.db" if request.param == "sqlite" else new_url(request.getfixturevalue("postgres"))
    found = open_database(where)
    yield found
    found.close()
