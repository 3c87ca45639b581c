"""Spark behind Ibis: expressions in; tables of the cluster out. The driver sees constants only, never a customer's row.

Every time is naive UTC (TIMESTAMP_NTZ), as on DuckDB. ANSI mode is on: what does not fit its type stops the build instead of turning
into NULL. pyspark is imported when a session is opened, not before.
"""

from __future__ import annotations

import itertools
import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa

from huaxiang.engine.java import check_java
from huaxiang.errors import HuaxiangError, ShopError, SourceError
from huaxiang.settings import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CONSTANTS = 5_000  # rows the driver takes at most: names of categories, quantiles, counts
LOCAL_PARTITIONS = 8
_HOST = re.compile(r"([^,/:]+):(\d+)")
_CLASS = re.compile(r"\b[A-Z]\w*(?:Exception|Error|Failure)\b")

Batches = Iterator[pa.RecordBatch]


class SparkEngine:
    """One Spark session, with views and settings of its own; use as a context manager or call `close`."""

    def __init__(self, session: SparkSession, *, own: bool = False) -> None:
        self.session = session
        self._own = own
        self.memory = session.sparkContext.getConf().get("spark.driver.memory", "1g")
        self._kept: list[DataFrame] = []
        self._names = (f"huaxiang_{id(self)}_{number}" for number in itertools.count())

    @classmethod
    def of(cls, settings: SparkSettings, environ: Mapping[str, str]) -> SparkEngine:
        """A session as [spark] says (the running one of this process where there is one).

        raises: ShopError where pyspark or Java is missing, or Spark does not start
        """
        try:
            from pyspark.sql import SparkSession
        except ModuleNotFoundError as error:
            raise ShopError("spark.no_pyspark") from error
        # pyspark would write every error, a customer's values in it, to the terminal; ours tell the kind (`attempt`).
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL + 1)
        running = SparkSession.getActiveSession()
        if running is None:
            check_java(environ)
            _check_master(settings.master)
        builder = SparkSession.builder.master(settings.master).appName("huaxiang")
        for name, value in _context_conf(settings).items():
            builder = builder.config(name, value)
        if settings.format == "hive":
            builder = builder.enableHiveSupport()
        try:
            started = running or builder.getOrCreate()
        except Exception as error:  # Spark starts with errors of many kinds; all mean the same here
            raise ShopError("spark.no_start", master=settings.master, detail=_reason(error)) from error
        session = started.newSession()
        for name, value in _session_conf(settings).items():
            session.conf.set(name, value)
        if python := settings.python or environ.get("PYSPARK_PYTHON") or (sys.executable if settings.is_local else ""):
            session.sparkContext.pythonExec = python
        engine = cls(session, own=running is None)
        try:
            engine._wait_for_executors(settings)
            if settings.catalog:
                session.catalog.setCurrentCatalog(settings.catalog)
        except BaseException:
            engine.close()
            raise
        return engine

    def __enter__(self) -> SparkEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.release()
        if self._own:
            self.session.stop()

    # ---- in --------------------------------------------------------------------------------------------------------

    def view(self, data: DataFrame | str) -> ibis.Table:
        """A frame or Spark SQL as an Ibis table, computed each time it is read."""
        with self.attempt():
            frame = self.session.sql(data) if isinstance(data, str) else data
            name = next(self._names)
            frame.createOrReplaceTempView(name)
        return ibis.table(_schema(frame), name=name)

    def parquet(self, paths: Iterable[Path | str], schema: pa.Schema | None = None) -> ibis.Table:
        """Parquet files as one table; with no files, an empty one of `schema`."""
        files = [here(path) if isinstance(path, Path) else path for path in paths]
        with self.attempt():
            if files:
                return self.view(self.session.read.parquet(*files))
            from pyspark.sql.pandas.types import from_arrow_schema

            assert schema is not None, "an empty table needs its schema"
            return self.view(self.session.createDataFrame([], from_arrow_schema(schema, prefer_timestamp_ntz=True)))

    def keep(self, query: ibis.Table) -> ibis.Table:
        """The result held on the executors' disks, computed once (again only where an executor is lost)."""
        from pyspark import StorageLevel

        frame = self.frame(query).persist(StorageLevel.DISK_ONLY)
        self._kept.append(frame)
        return self.view(frame)

    def rest(self, query: ibis.Table) -> ibis.Table:
        """The same result under a name of its own, from which Ibis starts anew: it cannot join on a column made after a join."""
        return self.view(self.frame(query))

    def deal(self, query: ibis.Table, by: str) -> ibis.Table:
        """`query` shared out by a column and kept so on the executors: what is grouped or joined by it after moves no more."""
        from pyspark import StorageLevel

        with self.attempt():
            frame = self.frame(query).repartition(by).persist(StorageLevel.DISK_ONLY)
        self._kept.append(frame)
        return self.view(frame)

    def release(self) -> None:
        """Forget what `keep` and `deal` made."""
        while self._kept:
            self._kept.pop().unpersist()

    def map_arrow(self, query: ibis.Table, work: Callable[[Batches], Batches], schema: pa.Schema) -> ibis.Table:
        """`work` on the record batches of each partition, in Python on the executors; it gives batches of `schema`."""
        from pyspark.sql.pandas.types import from_arrow_schema

        with self.attempt():
            return self.view(self.frame(query).mapInArrow(work, from_arrow_schema(schema, prefer_timestamp_ntz=True)))

    def share(self, value: Any) -> Callable[[], Any]:
        """`value` sent to each executor once; the result reads it there."""
        sent = self.session.sparkContext.broadcast(value)
        return lambda: sent.value

    # ---- out -------------------------------------------------------------------------------------------------------

    def sql(self, query: ibis.Table) -> str:
        """The Spark SQL of an Ibis expression."""
        import ibis.backends.sql.compilers as compilers
        from sqlglot import exp

        _ = ibis.pyspark  # registers its options, without which the compiler fails
        tree = compilers.pyspark.compiler.to_sqlglot(query.unbind())
        # To Spark 0.5 is a DECIMAL, and what is divided by one is cut to a few digits.
        for number in list(tree.find_all(exp.Literal)):
            if not number.is_string and not number.this.isdigit():
                number.replace(exp.cast(number.copy(), "double"))
        return str(tree.sql(dialect="spark"))

    def frame(self, query: ibis.Table) -> DataFrame:
        with self.attempt():
            return self.session.sql(self.sql(query))

    def rows(self, query: ibis.Table) -> list[dict[str, Any]]:
        """A few rows of constants; more than CONSTANTS are refused, so that no customers come to the driver."""
        with self.attempt():
            found = self.frame(query).limit(CONSTANTS + 1).collect()
        if len(found) > CONSTANTS:
            raise AssertionError(f"more than {CONSTANTS} rows asked of Spark: these are no constants")
        return [row.asDict(recursive=True) for row in found]

    def value(self, query: ibis.Table) -> Any:
        """The single value of a one-row, one-column result (None for an empty one)."""
        found = self.rows(query)
        return next(iter(found[0].values())) if found else None

    def schema(self, query: ibis.Table) -> pa.Schema:
        """The Arrow schema of a result, without computing it."""
        from pyspark.sql.pandas.types import to_arrow_schema

        return to_arrow_schema(self.frame(query).schema)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Turns Spark's errors into ours. Their texts may hold a customer's values: only their kind is told."""
        from py4j.protocol import Py4JError
        from pyspark.errors import AnalysisException, PySparkException

        try:
            yield
        except AnalysisException as error:
            condition = error.getCondition() or ""
            if condition in ("TABLE_OR_VIEW_NOT_FOUND", "PATH_NOT_FOUND", "SCHEMA_NOT_FOUND"):
                names = error.getMessageParameters() or {}
                place = next((names[key] for key in ("relationName", "path", "schemaName") if key in names), "?")
                raise SourceError("spark.no_table", name=place.strip("`")) from error
            raise ShopError("spark.failed", detail=_reason(error)) from error
        except (PySparkException, Py4JError) as error:
            if "OutOfMemoryError" in str(error):
                raise ShopError("spark.memory", detail=_reason(error), memory=self.memory) from error
            raise ShopError("spark.failed", detail=_reason(error)) from error

    def _wait_for_executors(self, settings: SparkSettings) -> None:
        in_process = settings.master.startswith("local") and not settings.master.startswith("local-cluster")
        later = self.session.sparkContext.getConf().get("spark.dynamicAllocation.enabled", "false") == "true"
        if not self._own or in_process or later:
            return
        until = time.monotonic() + settings.timeout_s
        context = self.session.sparkContext._jsc.sc()  # pyspark itself has no call for it
        while context.getExecutorMemoryStatus().size() < 2:  # the driver counts as one
            if time.monotonic() > until:
                raise ShopError("spark.no_executors", master=settings.master, seconds=settings.timeout_s)
            time.sleep(0.1)


def here(path: Path) -> str:
    """A path of this machine's file system as Spark takes it, whatever file system is its default (no %20: Hadoop reads it as it is)."""
    return f"file://{path.resolve()}"


def _schema(frame: DataFrame) -> ibis.Schema:
    from ibis.backends.pyspark.datatypes import PySparkType

    return ibis.schema({field.name: PySparkType.to_ibis(field.dataType) for field in frame.schema.fields})


def _context_conf(settings: SparkSettings) -> dict[str, str]:
    """What must stand before the session starts."""
    conf = {
        "spark.driver.memory": settings.memory,
        "spark.ui.showConsoleProgress": "false",
        # A build joins some twenty groupings in one stage, each with pages of its own: large ones would not fit a small executor.
        "spark.buffer.pageSize": "1m",
    }
    if settings.is_local:
        package = Path(__file__).resolve().parents[2]
        conf |= {
            "spark.driver.host": "127.0.0.1",  # a laptop's own name may not resolve
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.executorEnv.PYTHONPATH": str(package),
        }
    return conf | settings.conf


def _session_conf(settings: SparkSettings) -> dict[str, str]:
    """What this session alone has."""
    conf = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.pythonUDF.arrow.enabled": "true",
        # What `deal` has shared out by user stays so through groupings and joins by user and date.
        "spark.sql.requireAllClusterKeysForCoPartition": "false",
        "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "false",
    }
    if partitions := settings.partitions or (LOCAL_PARTITIONS if settings.is_local else 0):
        conf["spark.sql.shuffle.partitions"] = str(partitions)
    # What is set by hand goes first; the rest of [spark.conf] was given to the context.
    return conf | {name: value for name, value in settings.conf.items() if name in conf}


def _check_master(master: str) -> None:
    """Asks each host of a spark:// master for an answer: Spark itself would try for a minute."""
    if not master.startswith("spark://"):
        return
    for host, port in _HOST.findall(master.removeprefix("spark://")):
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            continue
        return
    raise ShopError("spark.no_master", master=master)


def _reason(error: BaseException) -> str:
    """The kind of a Spark error, without its text."""
    from pyspark.errors import PySparkException

    if isinstance(error, HuaxiangError):
        return error.what()
    if isinstance(error, PySparkException) and error.getCondition():
        return str(error.getCondition())
    kinds = list(dict.fromkeys(_CLASS.findall(str(error))))
    return ", ".join(kinds[-3:]) or type(error).__name__
