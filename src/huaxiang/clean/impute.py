"""Holes filled by a model: scikit-learn's IterativeImputer over the table's numbers, times and most frequent words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa

from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.tables import TABLES

if TYPE_CHECKING:
    import numpy as np

FIT_ROWS = 20_000
BATCH_ROWS = 50_000
# A word column with at most so many values enters as one 0/1 column for each of its most frequent.
WORDS_DISTINCT, WORDS_KEPT = 50, 8


def impute_columns(engine: Engine, table: str, rows: str, names: list[str], *, count: int, seed: int) -> ibis.Table:
    """row_id and the modelled value of each of `names`, for the rows in which one of them is missing.

    Fitted on at most FIT_ROWS rows, chosen by a hash of the row id; applied in batches. Values stay within what was observed,
    and whole numbers stay whole. A column nobody ever filled stays empty.
    """
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    inputs = _inputs(engine, table, rows, names)
    places = {name: place for place, name in enumerate(inputs) if name in names}
    schema = pa.schema([("row_id", pa.string()), *((name, pa.float64()) for name in names)])
    if not places:
        return engine.load(schema.empty_table())
    selected = ", ".join(f"({sql})::DOUBLE AS x{place}" for place, sql in enumerate(inputs.values()))
    every = max(1, -(-count // FIT_ROWS))
    sample = (
        f"SELECT row_id, {selected} FROM ({rows}) WHERE hash(row_id) % {every} = 0 ORDER BY row_id LIMIT {2 * FIT_ROWS}"
    )
    known = _matrix(engine.arrow(sample))
    if not len(known) or any(_empty(known[:, place]) for place in places.values()):
        known = _matrix(
            engine.arrow(f"SELECT row_id, {selected} FROM ({rows}) ORDER BY hash(row_id), row_id LIMIT {FIT_ROWS}")
        )
    model = IterativeImputer(random_state=seed, max_iter=10, keep_empty_features=True, **_limits(known))
    _fit_quietly(model, known)
    holes = " OR ".join(f"{name} IS NULL" for name in places)
    done = [
        _filled(model, batch, places, names, schema)
        for batch in engine.batches(f"SELECT row_id, {selected} FROM ({rows}) WHERE {holes}", BATCH_ROWS)
    ]
    whole = {column.name for column in TABLES[table].stored if column.type == "int"}
    rounded = ", ".join(f"round({name}) AS {name}" if name in whole else name for name in names)
    loaded = engine.load(pa.Table.from_batches(done, schema))
    kept = engine.keep(f"SELECT row_id, {rounded} FROM {loaded.get_name()}")
    engine.drop(loaded)
    return kept


def _inputs(engine: Engine, table: str, rows: str, names: list[str]) -> dict[str, str]:
    """Name -> SQL of each number the model sees; only columns that hold more than one value."""
    columns = [
        column
        for column in TABLES[table].stored
        if column.type in ("int", "float", "timestamp", "string") and not column.pseudonym
    ]
    counted = ", ".join(f"approx_count_distinct({column.name}) AS {column.name}" for column in columns)
    distinct = engine.rows(f"SELECT {counted} FROM ({rows})")[0]
    inputs: dict[str, str] = {}
    for column in columns:
        name = column.name
        if column.type in ("int", "float") and (distinct[name] > 1 or (name in names and distinct[name])):
            inputs[name] = name
        elif column.type == "timestamp" and distinct[name] > 1:
            inputs[name] = f"epoch({name}) / 86400"
        elif column.type == "string" and 1 < distinct[name] <= WORDS_DISTINCT:
            query = f"SELECT {name} AS v FROM ({rows}) WHERE {name} IS NOT NULL GROUP BY v ORDER BY count(*) DESC, v LIMIT {WORDS_KEPT}"
            inputs |= {f"{name}={row['v']}": f"{name} = {quote(row['v'])}" for row in engine.rows(query)}
    return inputs


def _matrix(table: pa.Table) -> np.ndarray:
    import numpy as np

    columns = [table.column(place).to_numpy() for place in range(1, table.num_columns)]
    return np.column_stack(columns).astype(float)


def _empty(values: np.ndarray) -> bool:
    import numpy as np

    return bool(np.isnan(values).all())


def _limits(known: np.ndarray) -> dict[str, Any]:
    """The lowest and highest value of each column, as the imputer takes them."""
    import numpy as np

    low = np.where(np.isnan(known), np.inf, known).min(axis=0)
    high = np.where(np.isnan(known), -np.inf, known).max(axis=0)
    # The imputer asks for low < high even where a column holds one value or none.
    return {"min_value": np.where(low < high, low, -np.inf), "max_value": np.where(low < high, high, np.inf)}


def _fit_quietly(model: Any, known: np.ndarray) -> None:
    """Fit; that the rounds ended before the tolerance was reached is no news to a shop."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(known)


def _filled(
    model: Any, batch: pa.RecordBatch, places: dict[str, int], names: list[str], schema: pa.Schema
) -> pa.RecordBatch:
    values = model.transform(_matrix(pa.Table.from_batches([batch])))
    columns = [
        pa.array(values[:, places[name]]) if name in places else pa.nulls(batch.num_rows, pa.float64())
        for name in names
    ]
    return pa.RecordBatch.from_arrays([batch.column(0), *columns], schema=schema)
