"""Content vectors of a shop's items: those the shop brings (column `content_vector` of items), or made of titles.

What the models read is centred, turned to the directions in which the items differ most, and of norm 1; an item without a vector has zeros.
Vectors of titles are kept in the lake (`content.titles`), so that each title is read once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.content.text import text_encoder, text_vectors
from huaxiang.engine import Lake, Step
from huaxiang.models.next_item.sequences import Floats

log = logging.getLogger(__name__)
From = Literal["auto", "title", "off"]
LEADING = 128  # directions that are kept: the others say little, and every item would carry them
TITLES = "content.titles"
KEPT = pa.schema([("title", pa.string()), ("vector", pa.list_(pa.float32())), ("encoder", pa.string())])


@dataclass(frozen=True)
class ItemContent:
    """vectors: (V, C) or None; source: content_vector, title, or "" for none; items: how many have a vector; unlike: how many were left
    out, since theirs had another length than most."""

    vectors: Floats | None = None
    source: str = ""
    items: int = 0
    unlike: int = 0

    def told(self) -> dict[str, Any]:
        """For the note of a step."""
        return {"source": self.source, "items": self.items, "unlike": self.unlike}


def read_content(lake: Lake | Step, ids: Sequence[str], how: From) -> ItemContent:
    """raises: ModelError where titles are asked for and the encoder is not installed"""
    if how == "off":
        return ItemContent()
    found = _brought(lake, ids) if how == "auto" else _of_titles(lake, ids)
    if found.unlike:
        log.warning("content vectors: %d have another length than most, and are left out", found.unlike)
    return found


def _brought(lake: Lake | Step, ids: Sequence[str]) -> ItemContent:
    if not lake.has("clean.items") or "content_vector" not in lake.table("clean.items").columns:
        return ItemContent()
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    found = engine.arrow(
        f"SELECT item_id, content_vector FROM ({engine.sql(lake.table('clean.items'))}) WHERE len(content_vector) > 0 "
        "QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY coalesce(third_party, FALSE), collected_at DESC, row_id) = 1"
    )
    return _content("content_vector", ids, found.column("item_id"), found.column("content_vector"))


def _of_titles(lake: Lake | Step, ids: Sequence[str]) -> ItemContent:
    encoder = text_encoder()
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    items = f"SELECT item_id, title FROM ({engine.sql(lake.table('ready.items'))}) WHERE title IS NOT NULL"
    titled = engine.arrow(items)
    titled = titled.filter(pc.is_in(titled.column("item_id"), value_set=pa.array(ids, pa.string())))
    wanted = pc.unique(titled.column("title")).sort()
    known = KEPT.empty_table()
    if lake.has(TITLES):
        known = engine.arrow(f"SELECT * FROM ({engine.sql(lake.table(TITLES))})").cast(KEPT)
        known = known.filter(pc.equal(known.column("encoder"), encoder))
    new = wanted.filter(pc.invert(pc.is_in(wanted, value_set=known.column("title").combine_chunks())))
    if len(new):
        made = text_vectors(new.to_pylist())
        fresh = pa.table([new, _lists(made), pa.repeat(encoder, len(new))], schema=KEPT)
        known = pa.concat_tables([known, fresh])
        if isinstance(lake, Step):
            lake.replace(TITLES, known)
    at = pc.index_in(titled.column("title"), value_set=known.column("title").combine_chunks())
    vectors = known.column("vector").combine_chunks().take(at)
    return _content("title", ids, titled.column("item_id"), vectors)


def _content(source: str, ids: Sequence[str], items: pa.ChunkedArray, vectors: pa.ChunkedArray) -> ItemContent:
    """Vectors put to the items of `ids`; the length that most of them have is theirs."""
    place = pc.index_in(items, value_set=pa.array(ids, pa.string()))
    here = pc.is_valid(place)
    place, vectors = place.filter(here), vectors.filter(here)
    vectors = vectors.combine_chunks() if isinstance(vectors, pa.ChunkedArray) else vectors
    lengths = pc.list_value_length(vectors).to_numpy(zero_copy_only=False)
    if not len(lengths):
        return ItemContent()
    counts = np.bincount(lengths)
    width = int(len(counts) - 1 - np.argmax(counts[::-1]))
    alike = lengths == width
    flat = vectors.filter(pa.array(alike)).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    whole = np.isfinite(flat).all(axis=1) & (np.abs(flat).max(axis=1, initial=0) > 0)
    every = np.zeros((len(ids), width), np.float32)
    at = place.to_numpy(zero_copy_only=False).astype(np.int64)[alike][whole]
    every[at] = flat[whole]
    has = np.zeros(len(ids), dtype=bool)
    has[at] = True
    made = leading(every, has)
    return ItemContent(made, source if made is not None else "", int(has.sum()), int((~alike).sum()))


def leading(vectors: Floats, has: np.ndarray) -> Floats | None:
    """(V, ≤ LEADING) of norm 1, zeros where not `has`; None where the items that have a vector do not differ.

    Vectors of one encoder all point much the same way: what tells items apart is what is left without their mean.
    """
    own = vectors[has].astype(np.float64)
    if len(own) < 2:
        return None
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    own -= own.mean(axis=0)
    if own.shape[1] > LEADING:
        own = own @ np.linalg.eigh(own.T @ own)[1][:, ::-1][:, :LEADING]
    norm = np.linalg.norm(own, axis=1, keepdims=True)
    if norm.max() < 1e-6:
        return None
    found = np.zeros((len(vectors), own.shape[1]), np.float32)
    found[has] = np.where(norm > 1e-6, own / np.maximum(norm, 1e-6), 0)
    return found


def _lists(vectors: Floats) -> pa.ListArray:
    starts = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(vectors.ravel(), pa.float32()))
