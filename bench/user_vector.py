"""Does the behaviour model's vector know who the customer is, better than hand-made aggregates?

    python bench/user_vector.py --data ml-100k --seeds 5 --out vector.json        # about 10 minutes on 2 cores

A folder with ml-100k.inter, .item and .user (tab-separated, RecBole's form). The model is pre-trained without labels on every user's
ratings in the order of time; its frozen vector goes into one fixed linear head (the zoo's, standardised; l2, and where both are read
the weight of the vector beside the aggregates, chosen by cross-validation inside the training folds), against hand-made aggregates (ratings given, their mean and spread, the share of each rating, of each genre, its mean
rating, of release decades, days active, ratings a day, hours of the day) in the same head, and both together. Repeated 5-fold by
user; metrics: gender ROC-AUC, age-band accuracy (four bands) of vector, aggregates, both; mean and sd over seeds.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.models.behaviour import Behaviour, BehaviourConfig
from huaxiang.models.exam import cross_scores, stratified_folds
from huaxiang.models.metrics import measure, row_losses
from huaxiang.models.next_item.sequences import Items, Sequences
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.linear import LinearConfig
from measure import Metrics, note, write_report

AGES = (25, 35, 50)  # bands: under 25, 25–34, 35–49, 50 and over
CONFIG = BehaviourConfig(
    width=64, length=200, tags=True, kinds=True, times=True, id_dropout=0.1, dropout=0.2, input_dropout=0.2,
    rate=2e-3, decay=True, batch=4096, epochs=15,
)  # fmt: skip


def main() -> None:
    options = _options()
    every, items, users, genres, years = read(options.data)
    made = aggregates(every, genres, years)
    aims = {
        "gender_auc": ("binary", np.array([user["gender"] == "F" for user in users], dtype=float), "roc_auc"),
        "age_accuracy": (
            "class",
            np.searchsorted(AGES, [int(user["age"]) for user in users], side="right").astype(float),
            "accuracy",
        ),
    }
    print(
        f"{len(every):,} users, {len(items):,} items, {len(every.item):,} ratings, {made.shape[1]} aggregates",
        flush=True,
    )
    metrics: Metrics = {}
    for place in range(options.seeds):
        seed = options.seed + place
        config = replace(CONFIG, contrast=options.contrast)
        vector = Behaviour(config).fit(every, items, seed=seed).user_vectors(every).astype(float)
        counted, read_off = (
            Matrix(tuple(f"{begin}{place}" for place in range(values.shape[1])), values)
            for begin, values in (("counted_", made), ("vector_", vector))
        )
        both = Matrix((*counted.columns, *read_off.columns), np.hstack([made, vector]))
        inputs = {"vector": read_off, "aggregates": counted, "both": both}
        for aim, (task, y, metric) in aims.items():
            for name, x in inputs.items():
                found = crossed(x, y, task, metric, seed)
                metrics.setdefault(f"{name}/{aim}", {"values": []})["values"].append(found)  # type: ignore[arg-type]
                print(f"seed {seed} {aim:<13}{name:<12}{found:.4f}", flush=True)
    told: Metrics = {}
    for name, found in metrics.items():
        note(told, name, found["values"])  # type: ignore[arg-type]
        print(
            f"{name:<28}{np.mean(found['values']):.4f} ± {np.std(found['values'], ddof=1) if options.seeds > 1 else 0:.4f}"
        )
    write_report(options.out, __doc__.splitlines()[0], options.data.name, told, seeds=options.seeds)


def crossed(x: Matrix, y: np.ndarray, task: Any, metric: str, seed: int) -> float:
    """The metric over out-of-fold scores; the head's settings are chosen within each training part."""
    fold, classes = stratified_folds(y, 5, seed=seed, task=task), int(y.max()) + 1
    scored = np.zeros((len(y), classes) if task == "class" else len(y))
    two = len({name.partition("_")[0] for name in x.columns}) > 1
    grid = [
        LinearConfig(task, l2=l2, weights=(("vector_", weight),))
        for l2 in (0.1, 0.5, 2.0) for weight in ((0.4, 1.0, 2.5) if two else (1.0,))
    ]  # fmt: skip
    for k in range(5):
        out, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        known, aim = x.rows(rest), y[rest]
        inner = stratified_folds(aim, 3, seed=seed + 1, task=task)
        losses = [
            row_losses(task, aim, cross_scores(one, known, aim, inner, seed=seed, classes=classes)).mean()
            for one in grid
        ]
        chosen = grid[int(np.argmin(losses))]
        scored[out] = make_model(chosen).fit(known, aim, seed=seed, classes=classes).score(x.rows(out))
    return float(measure(task, y, scored)[metric])


def read(folder: Path) -> tuple[Sequences, Items, list[dict[str, str]], np.ndarray, np.ndarray]:
    """Every user's ratings in the order of time (the rating as the event's kind), the items by genre and decade, the users."""
    rated, films, users = (_table(folder / f"ml-100k.{name}") for name in ("inter", "item", "user"))
    film, user = (
        {row[key]: place for place, row in enumerate(rows)} for rows, key in ((films, "item_id"), (users, "user_id"))
    )
    who, what = (
        np.array([places[row[key]] for row in rated]) for places, key in ((user, "user_id"), (film, "item_id"))
    )
    ts = np.array([int(float(row["timestamp"])) for row in rated])
    order = np.lexsort((what, ts, who))
    starts = np.concatenate([[0], np.cumsum(np.bincount(who, minlength=len(users)))]).astype(np.int64)
    kind = np.array([int(float(row["rating"])) for row in rated])[order]
    known = sorted({genre for row in films for genre in row["class"].split()})
    genres = np.array([[genre in row["class"].split() for genre in known] for row in films], dtype=float)
    year = np.array([int(row["release_year"]) if row["release_year"].isdecimal() else 0 for row in films])
    decade = np.clip((year - 1920) // 10, 0, 8)
    years = np.eye(9)[decade]
    tags = csr_matrix(np.hstack([genres, years]))
    return Sequences(starts, what[order], ts[order], kind), Items(tuple(film), tags), users, genres, years


def aggregates(every: Sequences, genres: np.ndarray, years: np.ndarray) -> np.ndarray:
    """(U, F) what a person would count."""
    assert every.ts is not None and every.kind is not None
    user, count = every.user, every.lengths[:, None]
    ratings, hours = np.eye(6)[every.kind][:, 1:], np.eye(24)[every.ts % 86_400 // 3600]

    def shares(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(user, column, len(every)) for column in values.T], axis=1) / count

    mean = np.bincount(user, every.kind, len(every)) / count[:, 0]
    spread = np.sqrt(np.bincount(user, (every.kind - mean[user]) ** 2, len(every)) / count[:, 0])
    genre = shares(genres[every.item])
    liked = shares(genres[every.item] * every.kind[:, None]) / np.maximum(genre, 1e-9)
    days = (every.ts[every.starts[1:] - 1] - every.ts[every.starts[:-1]]) / 86_400
    plain = np.stack([np.log(count[:, 0]), mean, spread, np.log1p(days), count[:, 0] / (1 + days)], axis=1)
    return np.hstack(
        [
            plain,
            shares(ratings),
            genre,
            np.where(genre > 0, liked, mean[:, None]),
            shares(years[every.item]),
            shares(hours),
        ]
    )


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{name.partition(":")[0]: value for name, value in row.items()} for row in rows]


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--seed", type=int, default=1, help="the first seed")
    asked.add_argument("--contrast", type=float, default=0.0, help="weight of the contrastive loss (CoLES)")
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
