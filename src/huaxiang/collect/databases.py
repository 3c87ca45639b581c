"""Tables and queries of databases: PostgreSQL, MySQL and SQLite through connectorx, DuckDB files through the engine.

    from = "postgresql://reader:${PGPASSWORD}@db.example/shop"     query = "select … from orders"

Results are streamed, so that memory stays bounded. The address, which may hold a password, never enters an error or a log.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote as url_quote
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from huaxiang.engine import Engine
from huaxiang.errors import HuaxiangError, SourceError
from huaxiang.settings import SourceSettings

BATCH = 65_536
_SCHEMES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
}
_BOUND_TO_FILE = ("sqlite", "duckdb")
_PORTS = {"postgresql": 5432, "mysql": 3306}
REACH_S = 5.0


def is_database(source: SourceSettings) -> bool:
    return source.format == "database" or any("://" in origin for origin in source.from_)


def address_of(url: str) -> str:
    """A database URL without its user and password: fit for reports and errors."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def expand(url: str, environ: Mapping[str, str], source: str) -> str:
    """`url` with each ${NAME} replaced by that environment variable (quoted for a URL); raises SourceError."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise SourceError("collect.no_variable", source=source, variable=found[1])
        return url_quote(environ[found[1]], safe="")

    return re.sub(r"\$\{(\w+)\}", value, url)


@contextmanager
def open_query(engine: Engine, source: SourceSettings, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The source's table or query as a relation of the engine, for the length of the block; raises SourceError."""
    address, url = address_of(source.from_[0]), expand(source.from_[0], environ, source.name)
    scheme, _, rest = url.partition("://")
    kind = _SCHEMES.get(scheme.lower().split("+", 1)[0])
    if kind is None:
        raise SourceError(
            "collect.unknown_database",
            source=source.name,
            address=address,
            known=", ".join(sorted(set(_SCHEMES.values()))),
        )
    if bool(source.query) == bool(source.db_table):
        raise SourceError("collect.query_or_table", source=source.name)
    sign = "`" if kind == "mysql" else '"'
    sql = source.query.rstrip().rstrip(";") or f"SELECT * FROM {_quoted(source.db_table, sign)}"
    path = _local(rest, folder)
    if kind in _BOUND_TO_FILE and not path.is_file():
        raise SourceError("collect.missing", source=source.name, path=path, near="")
    if kind == "duckdb":
        name = engine.attach(path)
        if name is None:
            raise SourceError("collect.not_duckdb", source=source.name, path=path)
        try:
            wrong = engine.attempt(f"CREATE TABLE memory.main.{name}_rows AS {sql}", within=name)
            if wrong is not None:
                raise SourceError("collect.database", source=source.name, address=address, detail=wrong.splitlines()[0])
            yield f"memory.main.{name}_rows"
            engine.run(f"DROP TABLE memory.main.{name}_rows")
        finally:
            engine.detach(name)
        return
    where = f"sqlite://{path}" if kind == "sqlite" else f"{kind}://{rest}"
    if kind in _PORTS:
        _reach(where, _PORTS[kind], source, address)
    with _saying(where, source, address):
        loaded = engine.load(_stream(where, sql))
    yield loaded.get_name()
    engine.drop(loaded)


def _reach(url: str, port: int, source: SourceSettings, address: str) -> None:
    """Raises SourceError where nobody answers: the driver itself would try for half a minute, and log as it goes."""
    parts = urlsplit(url)
    if not parts.hostname:
        return  # a socket file: the driver says at once whether it is there
    try:
        socket.create_connection((parts.hostname, parts.port or port), timeout=REACH_S).close()
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "?"
        raise SourceError("collect.database", source=source.name, address=address, detail=reason) from None


@contextmanager
def _saying(url: str, source: SourceSettings, address: str) -> Iterator[None]:
    """What goes wrong while the rows are asked for or read, as a SourceError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, HuaxiangError):
        raise
    except BaseException as error:  # noqa: BLE001  connectorx panics with pyo3's PanicException, which is no Exception
        raise SourceError(
            "collect.database", source=source.name, address=address, detail=_reason(str(error), url)
        ) from None


def _stream(url: str, sql: str) -> pa.RecordBatchReader:
    import connectorx

    found: Any = connectorx.read_sql(url, sql, return_type="arrow_stream", batch_size=BATCH)
    return found if isinstance(found, pa.RecordBatchReader) else found.to_reader()


def _reason(message: str, url: str) -> str:
    """The database's own first line, without the address or any part of it that is secret."""
    parts = urlsplit(url)
    line = message.strip().splitlines()[0] if message.strip() else "?"
    password = parts.password or ""
    for secret in sorted({url, parts.netloc, password, unquote(password), parts.query}, key=len, reverse=True):
        line = line.replace(secret, "…") if secret else line
    return line[:300]


def _local(rest: str, folder: Path) -> Path:
    """The file of sqlite:///relative.db or sqlite:////absolute.db; relative to the shop folder."""
    rest = rest.partition("?")[0]
    return Path(rest[1:]) if rest.startswith("//") else folder / rest.removeprefix("/")


def _quoted(name: str, sign: str) -> str:
    return ".".join(f"{sign}{part.replace(sign, sign * 2)}{sign}" for part in name.split("."))
