"""The live fold on Spark: a stream of events into a state a customer, by the same definitions; values written batch by batch.

    folder/batch=N/*.parquet   user_id, as_of (the day after the newest event known of them), values (a JSON object, feature: value)

A customer's newest row is the one of the highest batch. The state keeps the last two days' event ids, so what a source delivers
twice counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import msgspec
import pyarrow as pa

from huaxiang.engine.spark import SparkEngine, here
from huaxiang.engine.spark_stream import Work, fold_stream, open_source
from huaxiang.engine.spark_tables import Places
from huaxiang.features.live import Fold, live_features
from huaxiang.features.mine import declared_features
from huaxiang.features.spark_ready import Clock, day_number, event_columns, micros, with_known
from huaxiang.features.text import EPOCH
from huaxiang.settings import Settings

# A stream knows no other customer: what their prices are is the batch build's to say.
_SHOP_WIDE = {"price_ratio"}
_OUT = pa.schema([("as_of", pa.date32()), ("values", pa.string())])
_YEARS_AHEAD = 2  # how far the table of the zone's offsets reaches beyond today


def stream_folds(features: list[Any], *, session_gap_min: int) -> tuple[Fold, list[str]]:
    """The fold of the features a stream can keep; and the names of those it cannot."""
    kept = []
    for feature in live_features(features):
        if not _SHOP_WIDE & set(Fold([feature]).columns):
            kept.append(feature)
    names = {feature.name for feature in kept}
    left = [feature.name for feature in features if feature.name not in names]
    return Fold(kept, session_gap_min=session_gap_min), left


def stream_on_spark(
    places: Places,
    settings: Settings,
    source: str,
    folder: Path | str,
    checkpoint: Path | str,
    *,
    options: Mapping[str, str] | None = None,
    once: bool = True,
) -> tuple[int, list[str]]:
    """Folds the stream `source` (see open_source); gives the batches run, and the features left to the batch build.

    once: take what is there and end; else run until stopped
    """
    note = places.step.lake.note("build")
    features = declared_features(settings.features, note.get("categories", []), sells=note.get("sells", True))
    fold, left = stream_folds(features, session_gap_min=settings.features.session_gap_min)
    events = open_source(places.engine, source, options or {})
    items = places.read("ready_items") if places.has("ready_items") else None
    rows = _rows(places.engine, events, items, settings.shop.timezone, fold)
    batches = fold_stream(
        places.engine, rows, _work(fold), _OUT, folder=_place(folder), checkpoint=_place(checkpoint), once=once
    )
    return batches, left


def _rows(engine: SparkEngine, events: ibis.Table, items: ibis.Table | None, zone: str, fold: Fold) -> ibis.Table:
    """key (the user) and row: the columns a fold reads, as a JSON object."""
    whose = events.user_id.coalesce(events.anonymous_id)
    known = with_known(
        events.mutate(visitor=events.user_id.isnull(), user_id=whose, known_at=events.received_at.coalesce(events.ts))
    )
    ahead = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=365 * _YEARS_AHEAD)
    made = event_columns(known, items, Clock.of(zone, datetime(2000, 1, 1), ahead))
    numbers = {"ts": micros(made.ts), "day_no": day_number(made.day), "known_no": day_number(made.known_day)}
    numbers["day"] = numbers["day_no"]
    wanted = {name: numbers.get(name, made[name] if name in made.columns else None) for name in fold.columns}
    shaped = engine.view(engine.frame(made.select(key="user_id", **wanted)))
    return engine.view(
        f"SELECT key, to_json(struct({', '.join(fold.columns)}), map('ignoreNullFields', 'false')) AS row FROM {shaped.get_name()}"
    )


def _work(fold: Fold) -> Work:
    columns = fold.columns

    def work(before: bytes | None, rows: list[str]) -> tuple[bytes, tuple[Any, ...]]:
        state = fold.empty() if before is None else fold.decode(before)
        for text in rows:
            found = msgspec.json.decode(text)
            fold.add(state, [found.get(name) for name in columns])
        as_of: date = EPOCH + timedelta(days=state.newest + 1)
        values = msgspec.json.encode(fold.finish(state, as_of)).decode()
        return fold.encode(state), (as_of, values)

    return work


def _place(place: Path | str) -> str:
    return place if isinstance(place, str) and "://" in place else here(Path(place))
