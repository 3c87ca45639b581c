"""Look-alikes: the customers most like a list of others, by what their profiles say and by the behaviour model's vectors.

Three ways to be alike take the same exam: a fifth of the list is held out, the rest is the seed, and everyone else is ranked;
what counts is the share of those held out among the first (as many as asked for, and as were held out at least), by repeated draws. The best on one half of those held out
is taken, and its recall on the other half is what is told, beside that of a random list.

    centre     cosine to the mean vector of the seed
    vector     logistic regression of "is of the seed" on the vectors
    profile    the same on the numbers of the profile
    both       the same on both
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.market.people import Floats, read_traits, read_vectors
from huaxiang.engine import Lake
from huaxiang.errors import DefinitionError
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.linear import LinearConfig

LEAST = 20  # of a seed list
DRAWS = 3
OTHERS = 50_000  # customers beside the seed that a regression learns from, at most


@dataclass(frozen=True)
class Alike:
    """users: most alike first, with their score (0 to 1, a rank share); way: how; recall: of members held out, among the first
    `examined` of everyone else, with what a random list would find; tried: the recall of each way on the other half."""

    users: list[str]
    scores: list[float]
    way: str
    recall: float
    recall_random: float
    examined: int
    seed_size: int
    tried: dict[str, float]


def look_alikes(lake: Lake, seed_users: Sequence[str], *, count: int, seed: int) -> Alike:
    """raises: DefinitionError where the list is too short, or holds everybody"""
    names, _, traits = read_traits(lake)
    vectors = read_vectors(lake, names)
    place = {name: at for at, name in enumerate(names)}
    mine = np.array(sorted(place[user] for user in seed_users if user in place), dtype=np.int64)
    if len(mine) < LEAST or len(mine) >= len(names):
        raise DefinitionError("market.few_alike", count=len(mine), need=LEAST, customers=len(names))
    ways = _ways(vectors, traits)
    asked = min(count, max(len(names) - len(mine), 1))
    examined = max(asked, len(mine) // 5)  # of a shorter list even a perfect one could not find all held out
    half: dict[str, list[list[float]]] = {name: [[], []] for name in ways}
    for draw in range(DRAWS):
        chance = np.random.default_rng([seed, draw])
        held = chance.permutation(mine)[: max(len(mine) // 5, 2)]
        kept = np.setdiff1d(mine, held)
        others = np.setdiff1d(np.arange(len(names)), kept)
        for name, way in ways.items():
            score = way(kept, seed + draw)
            first = others[np.argsort(-score[others], kind="stable")[:examined]]
            for side, part in enumerate(np.array_split(held, 2)):
                half[name][side].append(float(np.isin(part, first).mean()))
    tried = {name: float(np.mean(found[0])) for name, found in half.items()}
    best = max(tried, key=lambda name: tried[name])
    score = ways[best](mine, seed)
    rest = np.setdiff1d(np.arange(len(names)), mine)
    order = rest[np.argsort(-score[rest], kind="stable")[:asked]]
    share = 1 - np.arange(asked) / max(len(rest) - 1, 1)  # (asked,) along the order, so that equals keep it
    return Alike(
        [names[at] for at in order],
        [round(float(one), 4) for one in share],
        best,
        float(np.mean(half[best][1])),
        min(examined / max(len(names) - len(mine) + max(len(mine) // 5, 2), 1), 1.0),
        examined,
        len(mine),
        tried,
    )


def _ways(vectors: Floats | None, traits: Floats) -> dict[str, Callable[[NDArray[np.int64], int], Floats]]:
    """name -> the score of every customer, given the places of the seed and a number that draws."""

    def regression(values: Floats) -> Callable[[NDArray[np.int64], int], Floats]:
        x = Matrix(tuple(f"x{place}" for place in range(values.shape[1])), values)

        def score(mine: NDArray[np.int64], seed: int) -> Floats:
            others = np.setdiff1d(np.arange(len(values)), mine)
            others = np.sort(np.random.default_rng(seed).permutation(others)[:OTHERS])
            rows = np.concatenate([mine, others])
            y = np.concatenate([np.ones(len(mine)), np.zeros(len(others))])
            return make_model(LinearConfig("binary", l2=0.03)).fit(x.rows(rows), y, seed=seed).score(x)

        return score

    found = {"profile": regression(traits)}
    if vectors is not None:

        def centre(mine: NDArray[np.int64], seed: int) -> Floats:
            return np.asarray(vectors @ vectors[mine].mean(axis=0))

        found = {
            "centre": centre,
            "vector": regression(vectors),
            **found,
            "both": regression(np.hstack([vectors, traits])),
        }
    return found
