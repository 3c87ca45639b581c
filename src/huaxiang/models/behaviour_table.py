"""The tables `behaviour` and `behaviour.map`: what the behaviour model says of every customer, written piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from huaxiang.engine import Step
from huaxiang.models.next_item.lake import ShopItems, pieces_of, read_pieces
from huaxiang.models.next_item.sequences import Floats
from huaxiang.progress import Advance
from huaxiang.settings import BehaviourSettings

if TYPE_CHECKING:
    from huaxiang.models.foresight import Foresight

TABLE = "behaviour"
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("next_items", pa.list_(pa.struct([("item_id", pa.string()), ("share", pa.float64())]))),
        ("similar", pa.list_(pa.struct([("user_id", pa.string()), ("similarity", pa.float64())]))),
        ("version", pa.string()),
    ]
)
COMPARED = 100_000  # customers among whom the most alike are sought; a random part where there are more
SAME = 1e-5  # how far vectors may lie apart, and still be the same but for rounding
MAP = "behaviour.map"
MAPPED = 1_000  # customers on the map, a random part where there are more
MAP_SCHEMA = pa.schema([("user_id", pa.string()), ("x", pa.float64()), ("y", pa.float64())])


def write_table(
    step: Step, found: Foresight, met: ShopItems, settings: BehaviourSettings, version: str, seed: int, advance: Advance
) -> int:
    """`behaviour`, a row a customer with an event of an item; gives the customers."""
    pieces = pieces_of(step)
    names, vectors = _compared(step, found, met, pieces)
    step.replace(MAP, draw_map(names, vectors, seed))
    middle = vectors.mean(axis=0)
    vectors = centred(vectors, middle)
    users = 0
    ids = np.array(met.items.ids, dtype=object)
    for every, who in read_pieces(step, met, pieces=pieces):
        made: list[pa.Table] = []
        for rows in _few(len(every), max(len(ids), len(names))):
            some = every.take(rows)
            own = found.model.user_vectors(some)
            listed, share = found.lists(some, settings.next_items)
            mine = [who[row] for row in rows]
            other, alike = nearest(centred(own, middle), mine, vectors, names, settings.similar)
            made.append(_rows(mine, own, ids[listed], share, other, alike, version))
        step.append(TABLE, pa.concat_tables(made))
        users += len(every)
        advance(1)
    return users


def _compared(step: Step, found: Foresight, met: ShopItems, pieces: int) -> tuple[list[str], Floats]:
    """The customers among whom the most alike are sought, and their vectors."""
    names: list[str] = []
    vectors: list[Floats] = []
    for every, who in read_pieces(step, met, pieces=pieces):
        kept = min(len(every), -(-COMPARED // pieces))
        vectors.append(found.model.user_vectors(every.take(np.arange(kept))))
        names += who[:kept]
    return names, np.concatenate(vectors)


def draw_map(names: Sequence[str], vectors: Floats, seed: int) -> pa.Table:
    """user_id, x, y of up to MAPPED customers on a plane: those who behave alike lie close.

    source: van der Maaten & Hinton 2008 (t-SNE), from the first principal components; of few customers these components alone; empty
    where all behave the same
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    some = np.sort(np.random.default_rng(seed).permutation(len(names))[:MAPPED])
    held = vectors[some].astype(float)
    if len(some) < 3 or np.ptp(held, axis=0).max() < SAME:
        return MAP_SCHEMA.empty_table()
    if len(some) < 50:
        flat = PCA(2, random_state=seed % 2**32).fit_transform(held)
    else:
        narrow = PCA(min(30, held.shape[1], len(some)), random_state=seed % 2**32).fit_transform(held)
        drawn = TSNE(2, init="pca", perplexity=min(30, len(some) / 4), max_iter=500, random_state=seed % 2**32)
        flat = drawn.fit_transform(narrow)
    flat = np.nan_to_num(np.asarray(flat, dtype=float))
    return pa.table([pa.array([names[place] for place in some]), flat[:, 0], flat[:, 1]], schema=MAP_SCHEMA)


def _few(users: int, others: int) -> Iterator[np.ndarray]:
    """Customers in batches whose scores of all items, and likeness to all compared, fit memory."""
    size = max(1, min(4_096, 32_000_000 // max(others, 1)))
    for low in range(0, users, size):
        yield np.arange(low, min(low + size, users))


def centred(vectors: Floats, middle: Floats) -> Floats:
    """(N, W) what sets each vector apart from `middle` (W,), at norm 1: the vectors themselves all point much the same way, so that
    everybody would seem like everybody. NaN where nothing does."""
    apart = vectors - middle
    norm = np.linalg.norm(apart, axis=1, keepdims=True)
    return np.asarray(np.where(norm < SAME, np.nan, apart / np.maximum(norm, SAME)), dtype=np.float32)


def nearest(
    own: Floats, mine: Sequence[str], vectors: Floats, names: Sequence[str], count: int
) -> tuple[list[list[str]], list[list[float]]]:
    """Of each customer the `count` others of the highest cosine, and that cosine. own, vectors: of norm 1, or NaN: alike to nobody"""
    alike = np.nan_to_num(own @ vectors.T, nan=-np.inf)
    place = {name: at for at, name in enumerate(names)}
    at = np.array([place.get(name, -1) for name in mine])
    alike[np.flatnonzero(at >= 0), at[at >= 0]] = -np.inf
    count = min(count, max(len(names) - 1, 0))
    if not count:
        return [[] for _ in mine], [[] for _ in mine]
    top = np.argpartition(-alike, count - 1, axis=1)[:, :count]
    cosine = np.take_along_axis(alike, top, axis=1)
    order = np.argsort(-cosine, axis=1, kind="stable")
    top, cosine = np.take_along_axis(top, order, axis=1), np.take_along_axis(cosine, order, axis=1)
    listed = np.array(names, dtype=object)[top]
    good = np.isfinite(cosine)
    return (
        [row[ok].tolist() for row, ok in zip(listed, good, strict=True)],
        [row[ok].round(4).tolist() for row, ok in zip(cosine.astype(float), good, strict=True)],
    )


def _rows(
    users: Sequence[str],
    vectors: Floats,
    items: Any,
    share: Floats,
    other: list[list[str]],
    alike: list[list[float]],
    version: str,
) -> pa.Table:
    count, width = vectors.shape
    listed = items.shape[1]
    embedding = pa.ListArray.from_arrays(
        pa.array(np.arange(count + 1, dtype=np.int32) * width), pa.array(vectors.ravel(), pa.float32())
    )
    struct = pa.StructArray.from_arrays(
        [pa.array(items.ravel(), pa.string()), pa.array(share.ravel().astype(float))], names=["item_id", "share"]
    )
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in other])]).astype(np.int32)
    near = pa.StructArray.from_arrays(
        [
            pa.array([one for row in other for one in row], pa.string()),
            pa.array([one for row in alike for one in row], pa.float64()),
        ],
        names=["user_id", "similarity"],
    )
    return pa.table(
        [
            pa.array(users, pa.string()),
            embedding,
            pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * listed), struct),
            pa.ListArray.from_arrays(pa.array(offsets), near),
            pa.repeat(version, count),
        ],
        schema=SCHEMA,
    )
