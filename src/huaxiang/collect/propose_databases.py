"""The tables of a database URL, looked at: SQLite by the standard library, DuckDB by the engine, servers by connectorx."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from huaxiang.collect.seen import Look
from huaxiang.collect.sniff_bytes import missing_file
from huaxiang.collect.sniff_typed import look_at_rows
from huaxiang.engine.duck import Engine, quote
from huaxiang.errors import SourceError

SAMPLE_ROWS = 5_000
_URL = re.compile(r"^[a-z][a-z0-9+]*://", re.IGNORECASE)


def pin_url(url: str) -> str:
    """A file database's URL with the whole path, so that it holds from the shop folder too."""
    scheme = url.partition("://")[0].lower()
    return f"{scheme}:///{_path_in(url).resolve()}" if scheme in ("sqlite", "duckdb") else url


def is_url(origin: str) -> bool:
    return bool(_URL.match(origin))


def look_at_database(url: str) -> list[Look]:
    """A Look of each table that has rows; raises SourceError where the database cannot be read or has none."""
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        looks = _look_at_sqlite(url)
    elif scheme == "duckdb":
        looks = _look_at_duckdb(url)
    elif scheme in ("postgresql", "postgres", "mysql", "mariadb"):
        looks = _look_at_server(url, scheme)
    else:
        raise SourceError("init.unknown_scheme", scheme=scheme)
    if not looks:
        raise SourceError("init.database_empty", url=hide_password(url))
    return looks


def hide_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _path_in(url: str) -> Path:
    rest = url.partition("://")[2]
    path = Path(rest.removeprefix("/"))  # sqlite:///relative.db, sqlite:////absolute.db
    if not path.is_file():
        raise missing_file(path)
    return path


def _look_at_sqlite(url: str) -> list[Look]:
    path = _path_in(url)
    looks = []
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
            )
            for (name,) in names.fetchall():
                table = '"' + name.replace('"', '""') + '"'
                total = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                step = max(1, total // SAMPLE_ROWS)
                found = connection.execute(f"SELECT * FROM {table} LIMIT {SAMPLE_ROWS}").fetchall()
                if step > 1:
                    found += connection.execute(
                        f"SELECT * FROM {table} LIMIT {SAMPLE_ROWS} OFFSET {total - SAMPLE_ROWS}"
                    ).fetchall()
                if found:
                    looks.append(
                        look_at_rows(
                            [_plain(dict(row)) for row in found],
                            url,
                            format="database",
                            rows_total=total,
                            db_table=name,
                        )
                    )
    except sqlite3.DatabaseError as error:
        raise SourceError("init.database_unreadable", url=hide_password(url)) from error
    return looks


def _look_at_duckdb(url: str) -> list[Look]:
    path = _path_in(url)
    looks = []
    with Engine(memory_gb=0.5, threads=1) as engine:
        engine.run(f"ATTACH {quote(str(path))} AS source (READ_ONLY)")
        names = engine.rows(
            "SELECT table_schema AS s, table_name AS t FROM information_schema.tables WHERE table_catalog = 'source' ORDER BY ALL"
        )
        for row in names:
            name = row["t"] if row["s"] == "main" else f"{row['s']}.{row['t']}"
            table = f'source."{row["s"]}"."{row["t"]}"'
            total = engine.value(f"SELECT count(*) FROM {table}")
            rows = engine.rows(f"SELECT * FROM {table} USING SAMPLE reservoir({SAMPLE_ROWS} ROWS) REPEATABLE (1)")
            if rows:
                looks.append(look_at_rows(rows, url, format="database", rows_total=total, db_table=name))
    return looks


def _look_at_server(url: str, scheme: str) -> list[Look]:
    """Tables of PostgreSQL or MySQL; `${NAME}` in the URL is filled from the environment by collect.databases."""
    import connectorx

    from huaxiang.collect.databases import expand

    schema = "current_schema()" if scheme.startswith("postgre") else "database()"
    looks = []
    try:
        address = expand(url, os.environ, "init")
        listing = f"SELECT table_name AS t FROM information_schema.tables WHERE table_schema = {schema} ORDER BY 1"
        for name in connectorx.read_sql(address, listing, return_type="arrow").column(0).to_pylist():
            mark = '"' if scheme.startswith("postgre") else "`"
            rows = connectorx.read_sql(
                address, f"SELECT * FROM {mark}{name}{mark} LIMIT {SAMPLE_ROWS}", return_type="arrow"
            ).to_pylist()
            if rows:
                looks.append(look_at_rows(rows, url, format="database", rows_total=len(rows), db_table=name))
    except RuntimeError:  # what connectorx raises; its text may hold the password
        raise SourceError("init.database_unreadable", url=hide_password(url)) from None
    return looks


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, bytes) else value for name, value in row.items()}
