"""DuckDB behind Ibis: expressions in; Arrow, Parquet files or nothing out.

DuckDB 2 allows one open result a connection, so every query takes a cursor of its own over one in-memory database;
tables made here (`load`, `keep`) are ordinary tables of that database, seen by all of them.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import duckdb
import ibis
import pyarrow as pa

from huaxiang.errors import ShopError
from huaxiang.settings import ShopSettings

Query: TypeAlias = "ibis.Table | str"
INTERRUPTED = "Query interrupted"  # as DuckDB says it
T = TypeVar("T")
R = TypeVar("R")


class Engine:
    """One DuckDB database in memory, spilling to `temp`; use as a context manager or call `close`."""

    def __init__(self, *, memory_gb: float = 1.5, threads: int = 2, temp: Path | None = None) -> None:
        config: dict[str, Any] = {
            "threads": threads,
            "memory_limit": f"{int(memory_gb * 1000)}MB",
            "preserve_insertion_order": False,  # lets COPY stream; an order that matters is asked for
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if temp is not None:
            config["temp_directory"] = str(temp)
        self.threads = threads
        self._connection = duckdb.connect(config=config)
        self._connection.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
        self._connection.execute("SET GLOBAL lambda_syntax = 'ENABLE_SINGLE_ARROW'")  # ibis 12 writes x -> …
        self._names = (
            f"held_{number}" for number in itertools.count()
        )  # never as Ibis calls a part of a query: t0, t1 …

    @classmethod
    def of(cls, settings: ShopSettings, temp: Path | None = None) -> Engine:
        return cls(memory_gb=settings.memory_gb, threads=settings.threads, temp=temp)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def sql(self, query: Query) -> str:
        """The DuckDB SQL of an Ibis expression (a string passes as it is)."""
        return query if isinstance(query, str) else str(ibis.to_sql(query, dialect="duckdb"))

    def run(self, sql: str) -> None:
        """Run a statement that gives nothing back."""
        with self._cursor() as cursor:
            cursor.execute(sql)

    def attempt(self, sql: str, *, within: str | None = None) -> str | None:
        """What DuckDB says is wrong with a statement or the data it reads (None: it ran).

        within: the attached file whose tables the statement names without a prefix
        """
        try:
            with self._cursor() as cursor:
                if within is not None:
                    cursor.execute(f"USE {within}")
                cursor.execute(sql)
        except (duckdb.DataError, duckdb.ProgrammingError, duckdb.OperationalError) as error:
            if isinstance(error, duckdb.OutOfMemoryException) or "No space left" in str(error):
                raise
            return str(error)
        return None

    def attach(self, path: Path | str) -> str | None:
        """The name under which the tables of another DuckDB file can be read until `detach` (None: it is no such file)."""
        name = next(self._names)
        try:
            with self._cursor() as cursor:
                cursor.execute(f"ATTACH {quote(str(path))} AS {name} (READ_ONLY)")
        except duckdb.IOException:
            return None
        return name

    def detach(self, name: str) -> None:
        self.run(f"DETACH {name}")

    def arrow(self, query: Query) -> pa.Table:
        """The whole result in memory: for results known to be small, or bounded by the caller."""
        with self._cursor() as cursor:
            return cursor.sql(self.sql(query)).to_arrow_table()

    def over(self, name: str, table: pa.Table, sql: str) -> pa.Table:
        """The result of `sql`, in which Arrow data goes by `name`, without a table being made: for small parts, many times."""
        with self._cursor() as cursor:
            cursor.register(name, table)
            try:
                return cursor.sql(sql).to_arrow_table()
            finally:
                cursor.unregister(name)

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """The result as Python dicts: for a handful of rows."""
        return self.arrow(query).to_pylist()

    def value(self, query: Query) -> Any:
        """The single value of a one-row, one-column result (None for an empty one)."""
        rows = self.arrow(query)
        return rows.column(0)[0].as_py() if rows.num_rows else None

    def batches(self, query: Query, rows: int = 100_000) -> Iterator[pa.RecordBatch]:
        """The result, batch by batch."""
        with self._cursor() as cursor:
            yield from cursor.sql(self.sql(query)).to_arrow_reader(rows)

    def load(self, table: pa.Table | pa.RecordBatchReader) -> ibis.Table:
        """Arrow data as a table of this engine."""
        name = next(self._names)
        with self._cursor() as cursor:
            cursor.register("arrow_in", table)
            cursor.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow_in")
            cursor.unregister("arrow_in")
        return self.table(name)

    def keep(self, query: Query) -> ibis.Table:
        """The result as a table of this engine, computed once (spills to disk beyond the memory limit)."""
        return self.table(self.store(query))

    def store(self, query: Query) -> str:
        """As `keep`, for SQL to come: gives the table's name alone."""
        name = next(self._names)
        self.run(f"CREATE TABLE {name} AS {self.sql(query)}")
        return name

    def view(self, sql: str) -> ibis.Table:
        """A SQL query as a table of this engine, computed each time it is read."""
        name = next(self._names)
        self.run(f"CREATE VIEW {name} AS {sql}")
        return self.table(name)

    def drop(self, table: ibis.Table | str) -> None:
        """Forget what `load`, `keep` or `view` made; or, by its name, what `store` made."""
        if isinstance(table, str):
            self.run(f"DROP TABLE IF EXISTS {table}")
            return
        name = table.get_name()
        kind = self.value(f"SELECT table_type FROM information_schema.tables WHERE table_name = '{name}'")
        self.run(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} IF EXISTS {name}")

    def table(self, name: str) -> ibis.Table:
        """The Ibis table named `name`. Unbound: ibis 12's own look-up uses DuckDB calls that version 2 is retiring."""
        return ibis.table(ibis.Schema.from_pyarrow(self.schema(f"SELECT * FROM {name}")), name=name)

    def parquet(self, paths: Sequence[Path | str], schema: pa.Schema | None = None) -> ibis.Table:
        """Parquet files as one table; with no files, an empty one of `schema`."""
        if not paths:
            assert schema is not None, "an empty table needs its schema"
            return self.load(schema.empty_table())
        files = ", ".join(quote(str(path)) for path in paths)
        return self.view(f"SELECT * FROM read_parquet([{files}])")

    def each(self, work: Callable[[T], R], parts: Iterable[T]) -> Iterator[R]:
        """`work(part)` of each part as it is done, as many at a time as the engine has threads, each on one thread alone.

        For grouping disjoint parts of a large table: threads that share one grouping each group much of the same and
        then merge it, which costs a third more (bench/log.md).
        """
        threads = self.threads
        self.run("SET threads = 1")  # no helpers: a query runs on the thread that asks for it
        with ThreadPoolExecutor(threads) as pool:
            try:
                yield from map(Future.result, as_completed([pool.submit(work, part) for part in parts]))
            finally:
                pool.shutdown(cancel_futures=True)
                self.run(f"SET threads = {threads}")

    def write(self, query: Query, folder: Path) -> list[tuple[Path, int]]:
        """Write the result as Parquet files into `folder` (new or existing); gives each file and its rows."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"part-{next(self._names)}-{{uuid}}"
        with self._cursor() as cursor:
            cursor.execute(
                f"COPY ({self.sql(query)}) TO {quote(str(folder))} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PER_THREAD_OUTPUT true, "
                f"FILENAME_PATTERN {quote(name)}, OVERWRITE_OR_IGNORE true, RETURN_FILES true)"
            )
            found = cursor.fetchone()
            files = [Path(path) for path in (found[1] if found else [])]
            counts = [
                (
                    path,
                    int(
                        cursor.execute(f"SELECT num_rows FROM parquet_file_metadata({quote(str(path))})").fetchone()[0]
                    ),
                )
                for path in files
            ]
        for path, rows in counts:
            if rows == 0:
                path.unlink()
        return [(path, rows) for path, rows in counts if rows]

    def schema(self, query: Query) -> pa.Schema:
        """The Arrow schema of a result, without computing it."""
        with self._cursor() as cursor:
            return cursor.sql(f"SELECT * FROM ({self.sql(query)}) LIMIT 0").to_arrow_table().schema

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            cursor.execute("SET TimeZone = 'UTC'")
            yield cursor
        except duckdb.OutOfMemoryException as error:
            raise ShopError("engine.memory") from error
        except duckdb.IOException as error:
            if "No space left" in str(error):
                raise ShopError("engine.disk_full") from error
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ShopError("engine.disk_full") from error
            raise
        except (duckdb.InterruptException, RuntimeError) as error:
            # Its Python side answers a Ctrl-C seen between two of its tasks with a bare RuntimeError.
            if isinstance(error, duckdb.InterruptException) or str(error) == INTERRUPTED:
                raise KeyboardInterrupt from error
            raise
        finally:
            cursor.close()


GREATEST = 1e12  # of a price, an amount, a quantity


def finite_sql(number: str) -> str:
    """The number, if a shop can have meant it: neither NaN nor infinite, nor so great that sums of it would be."""
    return f"CASE WHEN abs({number}) < {GREATEST!r} THEN {number} END"


def quote(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
