"""The leaderboard of the next item: settings on validation, the test once, mean and spread over seeds, and what each costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.models.next_item.base import NextConfig, NextItem, Scorer
from huaxiang.models.next_item.fusion import candidates, cross_ranks, fit_fusion, gains
from huaxiang.models.next_item.ranking import Ranks, measure, rank_targets
from huaxiang.models.next_item.sequences import Floats, Items
from huaxiang.models.next_item.splits import Split
from huaxiang.models.next_item.zoo import make_next, save_next

CHOICE = "ndcg@10"  # what validation chooses by


@dataclass
class Row:
    """One model on the board. valid, test: metric -> a value a seed; seconds to fit, bytes kept, ms to score one customer.

    config: what validation chose; needs: what the model takes beside the order of items
    """

    name: str
    config: NextConfig | None
    needs: tuple[str, ...]
    valid: dict[str, list[float]] = field(default_factory=dict)
    test: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    bytes: int = 0
    ms_per_user: float = 0.0
    models: list[Any] = field(default_factory=list)
    ranks: list[Ranks] = field(default_factory=list)  # of the validation questions, a seed each
    parts: tuple[str, ...] = ()  # of a fusion
    worth: bool = True  # of a fusion: whether it beats the best single model by more than chance has it

    def mean(self, metric: str, of: str = "test") -> float:
        return float(np.mean(getattr(self, of)[metric]))


Fit = Callable[[NextConfig, int], tuple[NextItem, float]]


def _fit(split: Split, items: Items, config: NextConfig, seed: int) -> tuple[NextItem, float]:
    start = time.perf_counter()
    model = make_next(config).fit(split.train, items, seed=seed, watch=split.valid)
    return model, time.perf_counter() - start


def enter(
    name: str,
    grid: Sequence[NextConfig],
    split: Split,
    items: Items,
    *,
    seeds: Sequence[int],
    masked: bool = True,
    fit: Fit | None = None,
    more: Callable[[], bool] = lambda: True,
    done: Callable[[str], None] = lambda said: None,
) -> Row:
    """One model: the best of `grid` on validation (with the first seed), then fitted with every seed and asked the test once each.

    masked: whether settings are chosen by the figures with what a customer had masked, or by those that count it
    fit: how a model of settings and a seed comes about, and in how many seconds (None: it is fitted)
    more: whether there is time for another setting of the grid; the first is always tried
    """
    popularity, choice = popularity_of(split, items), choice_of(masked=masked)
    fitted: list[tuple[float, NextConfig, NextItem, float]] = []
    fit = fit or partial(_fit, split, items)
    for config in grid:
        if fitted and not more():
            done(f"{name}: no time for {len(grid) - len(fitted)} of {len(grid)} settings")
            break
        model, took = fit(config, seeds[0])
        reached = (
            measure(rank_targets(model.score, split.valid, len(items)), popularity)[choice] if len(grid) > 1 else 0.0
        )
        fitted.append((reached, config, model, took))
        done(f"{name} {config}: {reached:.4f}, {took:.1f} s")
    _, config, model, took = max(fitted, key=lambda one: one[0])
    row = Row(name, config, model.needs)
    for seed in seeds:
        if seed != seeds[0]:
            model, took = fit(config, seed)
        row.seconds.append(took)
        _ask(row, model, split, items, popularity)
        done(f"{name} seed {seed}: {_told(row)}")
    with tempfile.TemporaryDirectory() as folder:
        row.bytes = save_next(row.models[0], Path(folder))
    return row


def fuse(
    rows: Mapping[str, Row],
    split: Split,
    items: Items,
    *,
    rivals: Sequence[Row],
    name: str = "fusion",
    masked: bool = True,
    done: Callable[[str], None] = lambda said: None,
) -> Row:
    """The fusion of the models of `rows`, learned on validation for each seed anew; its validation figures are of questions that its
    weights were not found on.

    rivals: every single model of the board, fused or not: the fusion is worth it where it beats the best of them
    """
    popularity = popularity_of(split, items)
    strongest = max(rivals, key=lambda row: row.mean(choice_of(masked=masked), "valid"))
    seeds = max(len(row.models) for row in rows.values())
    made = Row(name, None, tuple(sorted({need for row in rows.values() for need in row.needs})), parts=tuple(rows))
    for place in range(seeds):
        parts = [row.models[min(place, len(row.models) - 1)] for row in rows.values()]
        start = time.perf_counter()
        seen = candidates(parts, split.valid, len(items), masked=masked)
        model, _ = fit_fusion(parts, split.valid, len(items), masked=masked, seen=seen)
        made.seconds.append(
            time.perf_counter() - start + sum(row.seconds[min(place, len(row.seconds) - 1)] for row in rows.values())
        )
        crossed = cross_ranks(parts, split.valid, len(items), masked=masked, seen=seen)
        _ask(made, model, split, items, popularity, valid=crossed)
        single = strongest.ranks[min(place, len(strongest.ranks) - 1)]
        made.worth = (
            made.worth
            and crossed is not None
            and gains(*(one.rank if masked else one.unmasked for one in (crossed, single)))
        )
        done(f"{name} {place + 1}: {_told(made)}, weights {model.weights}")
    made.bytes = sum(row.bytes for row in rows.values())
    return made


def _told(row: Row) -> str:
    """The newest figures."""
    test = ", ".join(f"{metric} {row.test[metric][-1]:.4f}" for metric in (CHOICE, "recall@10"))
    return f"valid {CHOICE} {row.valid[CHOICE][-1]:.4f}, test {test}"


def choice_of(*, masked: bool) -> str:
    """The figure that validation chooses by: where customers take the same again, what they had counts."""
    return CHOICE if masked else f"unmasked_{CHOICE}"


def choose(rows: Sequence[Row], choice: str = CHOICE) -> Row:
    """The row that validation picks; a fusion only where it beats the best single model by more than chance has it."""
    return max((row for row in rows if row.worth), key=lambda row: row.mean(choice, "valid"))


def popularity_of(split: Split, items: Items) -> Floats:
    return np.bincount(split.train.item, minlength=len(items)).astype(float)


def _ask(
    row: Row, model: Scorer, split: Split, items: Items, popularity: Floats, *, valid: Ranks | None = None
) -> None:
    """valid: the ranks of the validation questions, where they are known."""
    row.models.append(model)
    for asked, found in ((split.valid, row.valid), (split.test, row.test)):
        ranks = valid if valid is not None and asked is split.valid else rank_targets(model.score, asked, len(items))
        row.ms_per_user = ranks.ms_per_user
        if asked is split.valid:
            row.ranks.append(ranks)
        for metric, value in measure(ranks, popularity).items():
            found.setdefault(metric, []).append(value)
