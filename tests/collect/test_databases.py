"""Real databases: PostgreSQL and MariaDB started in a temporary folder, as a user who is not root."""

from __future__ import annotations

import getpass
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from huaxiang.collect.databases import _reason, address_of, expand, open_query
from huaxiang.engine import Engine
from huaxiang.errors import SourceError
from huaxiang.settings import SourceSettings
from servers import PostgresServer, as_user, await_ready, free_port, has_user, open_folder, run

Source = Callable[..., dict[str, Any]]
PASSWORD = "s3cret/p@ss:word"
ROWS = "(1, 'A', '2024-01-01 10:00:00', 'buy', 12.50), (2, '苹果', '2024-01-01 11:00:00', 'pv', NULL)"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PostgresServer(tmp_path_factory.mktemp("pg"), PASSWORD)
    try:
        server.ask(
            f"CREATE TABLE orders (usr bigint, item text, at timestamptz, what varchar, paid numeric(10,2)); SET timezone='UTC'; INSERT INTO orders VALUES {ROWS}; CREATE TABLE many AS SELECT n AS usr, 'x' AS item, now() AS at, 'pv' AS what, 1.5::numeric AS paid FROM generate_series(1, 70000) n"
        )
        yield server.url(password="${PG}")
    finally:
        server.close()


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server_tool = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if not server_tool or not install or not has_user("mysql"):
        pytest.skip("MariaDB is not installed (scripts/apt-needs.sh installs it)")
    user = "mysql" if os.geteuid() == 0 else getpass.getuser()
    folder, port = open_folder(tmp_path_factory.mktemp("my"), user), free_port()
    run(
        as_user(
            user,
            install,
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
    )
    command = as_user(
        user,
        server_tool,
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--socket={folder / 's.sock'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--pid-file={folder / 'pid'}",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=16M",
    )
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = [
        "mariadb",
        "--no-defaults",
        f"--socket={folder / 's.sock'}",
        "-u",
        "root",
        "--default-character-set=utf8mb4",
    ]
    try:
        await_ready(lambda: subprocess.run([*client, "-e", "SELECT 1"], capture_output=True).returncode == 0, server)
        made = f"CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop; CREATE TABLE orders (usr bigint, item varchar(20), at datetime, what varchar(9), paid decimal(10,2)); INSERT INTO orders VALUES {ROWS}; CREATE USER reader@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT ON shop.* TO reader@'127.0.0.1'"
        run([*client, "-e", made])
        yield f"mysql://reader:${{PG}}@127.0.0.1:{port}/shop"
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


MAP = {"user_id": "usr", "amount": "paid"}


def test_table_of_a_server_is_read_once(shop: Any, events: Source, url: str) -> None:
    source = events(format="database", db_table="orders", map=MAP, **{"from": url})
    assert shop.collect(source, environ={"PG": PASSWORD}).rows == {"events": 2}
    assert shop.collect(source, environ={"PG": PASSWORD}).rows == {"events": 0}
    assert [(row[0], row[1], str(row[2])) for row in shop.rows("events", "item_id", "amount", "ts")] == [
        ("A", 12.5, "2024-01-01 10:00:00"),
        ("苹果", None, "2024-01-01 11:00:00"),
    ]
    manifest = (shop.folder / "lake" / "manifest.json").read_text()
    assert "s3cret" not in manifest and "reader" not in manifest


def test_query_of_a_server_is_read(shop: Any, events: Source, url: str) -> None:
    source = events(
        format="database", query="SELECT usr, item, at, what, paid FROM orders WHERE usr = 2;", map=MAP, **{"from": url}
    )
    assert shop.collect(source, environ={"PG": PASSWORD}).rows == {"events": 1}


def test_server_error_names_the_cause_and_no_password(shop: Any, events: Source, url: str) -> None:
    with pytest.raises(SourceError, match=r"the database .*127.0.0.1.* says.*ordres") as caught:
        shop.collect(events(format="database", db_table="ordres", map=MAP, **{"from": url}), environ={"PG": PASSWORD})
    assert "s3cret" not in caught.value.say("zh") and "reader" not in str(caught.value)


def test_reason_of_a_database_is_stripped_of_secrets() -> None:
    """What connectorx says of a wrong password (a real one takes its pool 30 s to give up)."""
    url = "postgresql://me:s3cret%2Fx@h:1/shop?sslmode=require"
    assert (
        _reason(f"cannot reach {url}: password s3cret/x failed\nat line 2", url) == "cannot reach …: password … failed"
    )


def test_large_table_streams(shop: Any, events: Source, postgres: str) -> None:
    source = events(format="database", db_table="many", map=MAP, **{"from": postgres})
    assert shop.collect(source, environ={"PG": PASSWORD}).rows == {"events": 70_000}


def test_address_shows_no_user_or_password() -> None:
    assert (
        address_of("postgresql://me:p@ss@db.example:5432/shop?sslmode=require&password=x")
        == "postgresql://db.example:5432/shop"
    )
    assert address_of("mysql://me:${PW}@h/shop") == "mysql://h/shop"


def test_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SourceError, match="export PW="):
        expand("mysql://me:${PW}@h/shop", {}, "orders")
    assert expand("mysql://me:${PW}@h/shop", {"PW": "a/b"}, "orders") == "mysql://me:a%2Fb@h/shop"


def test_unknown_scheme_missing_file_and_both_query_and_table_are_errors(shop: Any, events: Source) -> None:
    with pytest.raises(SourceError, match="no database huaxiang knows"):
        shop.collect(events(format="database", db_table="x", **{"from": "oracle://h/x"}))
    with pytest.raises(SourceError, match="there is no file"):
        shop.collect(events(format="database", db_table="x", **{"from": "sqlite:///none.db"}))
    with pytest.raises(SourceError, match="either `query` or `db_table`"):
        shop.collect(events(format="database", **{"from": "sqlite:///none.db"}))


def source_of(url: str, **more: str) -> SourceSettings:
    return SourceSettings.model_validate(
        {
            "name": "db",
            "from": [url],
            "format": "database",
            "db_table": "orders",
            "to": [{"table": "events", "map": {}}],
            **more,
        }
    )


def test_text_in_a_number_column_of_sqlite_is_one_clear_error(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as base:
        base.execute("CREATE TABLE orders (user_id TEXT, amount REAL)")
        base.executemany("INSERT INTO orders VALUES (?, ?)", [("a", 1.0)] * 2000 + [("b", "twelve")])
    base.close()
    with (
        Engine() as engine,
        pytest.raises(SourceError, match=r"source db: the database sqlite:///shop\.db says"),
        open_query(engine, source_of("sqlite:///shop.db"), tmp_path, {}),
    ):
        pass


def test_file_that_is_no_duckdb_database_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "shop.duckdb").write_text("a,b\n1,2\n" * 5000)
    with (
        Engine() as engine,
        pytest.raises(SourceError, match="is not a DuckDB database"),
        open_query(engine, source_of("duckdb:///shop.duckdb"), tmp_path, {}),
    ):
        pass


def test_database_that_does_not_answer_is_said_at_once() -> None:
    start = time.monotonic()
    url = f"postgresql://reader:{PASSWORD}@127.0.0.1:{free_port()}/shop".replace(PASSWORD, "s3cret")
    with (
        Engine() as engine,
        pytest.raises(SourceError, match="refused") as raised,
        open_query(engine, source_of(url), Path(), {}),
    ):
        pass
    assert "s3cret" not in str(raised.value)
    assert time.monotonic() - start < 4
