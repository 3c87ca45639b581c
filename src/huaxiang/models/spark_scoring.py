"""Every customer scored on Spark: the models travel to the executors once, the customers never leave them.

The contest itself runs here, on the bounded training set (see outcomes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any

import ibis
import pyarrow as pa

from huaxiang.engine.spark_tables import Places
from huaxiang.features.build import check_definitions
from huaxiang.features.in_ibis import to_ibis
from huaxiang.models.labelled import feature_matrix, numeric_features
from huaxiang.models.predictor import SCHEMA, Predictor
from huaxiang.settings import Settings

BATCH = 50_000  # customers scored at a time


def bring_training(places: Places) -> None:
    """Copies `training` and `labels` into the shop's lake where they are kept elsewhere: [train] max_rows bounds both."""
    for name in ("training", "labels"):
        if places.where(name):
            places.copy_to_lake(name)


class SparkScorer:
    """Scores the table `features` on the executors; `finish` writes the predictions of all outcomes as one table."""

    def __init__(self, places: Places, settings: Settings) -> None:
        self._places = places
        self._settings = settings
        self._made: list[ibis.Table] = []

    def add(self, outcome: dict[str, Any], predictor: Predictor, version: str) -> None:
        engine = self._places.engine
        columns = tuple(numeric_features(self._places.step, "training"))
        people = self._population(outcome)
        as_of = people.as_of.cast("timestamp")
        rows = people.select("user_id", as_of=as_of, **{name: people[name].cast("float64") for name in columns})
        model = engine.share((predictor.to_json(), predictor.files))
        self._made.append(engine.map_arrow(rows, partial(_score, model, columns, version), SCHEMA))

    def finish(self) -> None:
        engine = self._places.engine
        empty = engine.parquet([], SCHEMA)
        self._places.write("predictions", reduce(lambda one, other: one.union(other), self._made or [empty]))

    def _population(self, outcome: dict[str, Any]) -> ibis.Table:
        """The rows of `features` to predict for: a declared attribute for those who did not declare it."""
        features = self._places.read("features")
        found = {one.name: one for one in check_definitions(self._settings)[1]}.get(outcome["name"])
        if found is not None and found.among.node is not None:
            features = features.filter(to_ibis(found.among.node, features.__getitem__))
        attribute = outcome.get("attribute") or (found.attribute if found is not None else "")
        if attribute:
            labels = self._places.read("labels")
            told = [labels.filter(labels.outcome == outcome["name"]).select("user_id")]
            users = self._places.read("ready_users")
            if (name := attribute.removeprefix("users.")) in users.columns:
                own = users[name].notnull() & ~users.filled.contains(name).coalesce(False)
                told.append(users.filter(own).select("user_id"))
            for known in told:
                features = features.anti_join(known.distinct(), "user_id")
        return features


def _score(
    model: Callable[[], tuple[str, dict[str, bytes]]],
    columns: tuple[str, ...],
    version: str,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Predictions of a partition's customers, the model read once."""
    text, files = model()
    predictor = Predictor.from_json(text, files.__getitem__)
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            part = batch.slice(start, BATCH)
            users, as_of = part.column("user_id"), part.column("as_of")
            made = predictor.predict(users, as_of, feature_matrix(part, columns), version)
            yield from made.to_batches()


__all__ = ["SparkScorer", "bring_training"]
