"""Structured Streaming: a state for each key kept by Spark itself, folded micro-batch by micro-batch, exactly once.

Spark's checkpoint holds the offsets of the source and the states together; what a batch gave is written under the batch's number,
so a batch that runs again after a crash replaces what it wrote before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa

from huaxiang.engine.spark import SparkEngine, here
from huaxiang.errors import SourceError
from huaxiang.tables import EVENTS, arrow_schema

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.state import GroupState

FORMATS = ("json", "parquet", "csv")
# (the state before, or None; the rows as JSON) -> (the state after, what to write)
Work = Callable[[bytes | None, list[str]], tuple[bytes, tuple[Any, ...]]]


def open_source(engine: SparkEngine, source: str, options: Mapping[str, str]) -> ibis.Table:
    """A stream of the contract's events: a folder watched for files (`json:/folder`, `parquet:…`, `csv:…`), or Kafka
    (`kafka:topic`, its values JSON objects; `options` say kafka.bootstrap.servers and what else Kafka wants).

    raises: SourceError for another kind of source
    """
    from pyspark.sql.functions import col, from_json
    from pyspark.sql.pandas.types import from_arrow_schema

    kind, _, place = source.partition(":")
    schema = from_arrow_schema(arrow_schema(EVENTS.stored), prefer_timestamp_ntz=True)
    reader = engine.session.readStream.options(**options)
    with engine.attempt():
        if kind == "kafka" and place:
            values = reader.format("kafka").option("subscribe", place).load().select(col("value").cast("string"))
            return engine.view(values.select(from_json("value", schema).alias("event")).select("event.*"))
        if kind not in FORMATS or not place:
            raise SourceError("spark.stream_source", source=source, known=", ".join(FORMATS))
        folder = place if "://" in place else here(Path(place))
        return engine.view(reader.schema(schema).format(kind).load(folder))


def fold_stream(
    engine: SparkEngine, rows: ibis.Table, work: Work, out: pa.Schema, *, folder: str, checkpoint: str, once: bool
) -> int:
    """Folds `rows` (columns key, row: a JSON object) into a state a key; writes what `work` gives to folder/batch=N as Parquet.

    out: columns beside `key` of what is written. once: take what is there and end (else until stopped); gives the batches run
    """
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.streaming.state import GroupStateTimeout

    columns = [field.name for field in out]

    def fold(key: tuple[str], frames: Iterable[pd.DataFrame], state: GroupState) -> Iterator[pd.DataFrame]:
        import pandas

        given = [row for frame in frames for row in frame["row"]]
        after, written = work(bytes(state.get[0]) if state.exists else None, given)
        state.update((after,))
        yield pandas.DataFrame([(key[0], *written)], columns=["key", *columns])

    def write(frame: DataFrame, batch: int) -> None:
        frame.write.mode("overwrite").parquet(f"{folder}/batch={batch}")

    shape = from_arrow_schema(pa.schema([("key", pa.string()), *out]), prefer_timestamp_ntz=True)
    held = from_arrow_schema(pa.schema([("content", pa.binary())]))
    with engine.attempt():
        grouped = engine.frame(rows).groupBy("key")
        folded = grouped.applyInPandasWithState(fold, shape, held, "update", GroupStateTimeout.NoTimeout)
        writer = folded.writeStream.outputMode("update").foreachBatch(write).option("checkpointLocation", checkpoint)
        query = (writer.trigger(availableNow=True) if once else writer).start()
        query.awaitTermination()
        return len([progress for progress in query.recentProgress if progress["numInputRows"]])
