"""Segments found, not declared: groups of customers that come out alike when one looks again, each told by what sets it apart.

The numbers of the profiles enter on a common scale (long-tailed ones as logarithms), shortened to their principal components. k-means and
Gaussian mixtures of 2 to MOST groups, and HDBSCAN, are fitted to pairs of overlapping halves of the customers; how far two such groupings agree
on the customers of both (adjusted Rand index, 1 the same, 0 chance) is the stability of that number of groups. Taken is the largest number of
groups whose stability reaches STEADY and lies within SLACK of the best, or the most stable. The number is chosen by stability alone; nothing is held to be true of the groups beyond that.

source: Hubert & Arabie 1985 (adjusted Rand index); Ben-Hur, Elisseeff & Guyon 2002 (stability); Campello, Moulavi & Sander 2013 (HDBSCAN)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import rankdata

from huaxiang.apply.market.people import Floats, read_traits
from huaxiang.engine import Lake, Step
from huaxiang.errors import ModelError
from huaxiang.profile.names import Names
from huaxiang.profile.say import label_of
from huaxiang.words import Lang

TABLE = "segments"
SCHEMA = pa.schema(
    [("user_id", pa.string()), ("segment", pa.int16()), ("as_of", pa.date32()), ("version", pa.string())]
)
MOST = 8  # groups tried
STEADY = 0.8
SLACK = 0.06  # of the stability of the steadiest: a group cut in two at random agrees with itself well, but less than groups that are there
FITTED = 5_000  # customers a grouping is fitted to, at most
PAIRS = 4  # pairs of halves
PARTS = 10  # principal components
LEAST = 50  # customers
TOLD = 5  # differences told of a segment
FEW = 2
APART = 0.3  # least difference worth telling, in standard deviations
Grouper = Callable[
    [Floats, Floats, int], NDArray[np.int64]
]  # (fitted on, asked about, seed) -> the group of those asked about


@dataclass(frozen=True)
class Difference:
    """One trait by which a segment stands apart. apart: its mean rank less everybody's, in standard deviations of ranks (one odd value decides
    nothing); typical, everybody: the medians, or the means where the medians are equal."""

    trait: str
    apart: float
    typical: float
    everybody: float
    label: dict[Lang, str] = field(default_factory=dict)  # what the trait is called

    def name(self, lang: Lang) -> str:
        return self.label.get(lang) or label_of(self.trait)[lang]


@dataclass(frozen=True)
class Segment:
    number: int
    size: int
    share: float
    differences: tuple[Difference, ...]
    stages: Mapping[str, float]
    tiers: Mapping[str, float]


@dataclass(frozen=True)
class Segments:
    """version: of the grouping (what it saw, and how); way, groups: what was taken; stability: of it (mean over pairs of halves); tried: "way groups" -> stability."""

    way: str
    groups: int
    stability: float
    steady: bool
    tried: Mapping[str, float]
    customers: int
    segments: tuple[Segment, ...]
    as_of: str = ""
    version: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_segments(step: Step, *, seed: int, as_of: str) -> Segments:
    """Groups every customer, and writes `segments`; raises ModelError where there are too few customers, or nothing differs."""
    lake = step.lake
    names, traits, values = read_traits(lake, predicted=False)
    if len(names) < LEAST:
        raise ModelError("market.few_segments", count=len(names), need=LEAST)
    scaled = scale(values)
    if not scaled.shape[1]:
        raise ModelError("market.no_difference")
    points = shorten(scaled, seed)
    way, groups, tried = choose(points, seed)
    some = np.sort(np.random.default_rng(seed).permutation(len(points))[:FITTED])
    label = _GROUPERS[way](groups)(points[some], points, seed)
    label = _by_size(label)
    seen = [way, groups, seed, list(traits), lake.note("build").get("mark", ""), as_of]
    version = hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]
    made_at = pa.array([date.fromisoformat(as_of)] * len(names))
    columns = [pa.array(names), pa.array(label, pa.int16()), made_at, pa.array([version] * len(names))]
    step.replace(TABLE, pa.table(columns, schema=SCHEMA))
    words = _words(lake)
    made = tuple(
        Segment(
            int(number),
            int((label == number).sum()),
            float((label == number).mean()),
            _differences(traits, values, Names.of(lake), label == number),
            _shares(words["lifecycle"], label == number),
            _shares(words["value_tier"], label == number),
        )
        for number in np.unique(label)
    )
    stability = tried[f"{way} {groups}" if groups else way]
    return Segments(way, len(made), stability, stability >= STEADY, tried, len(names), made, as_of, version)


def scale(values: Floats) -> Floats:
    """(N, F') the columns that vary, missing values at the median, long-tailed ones as log(1 + x), each of mean 0 and deviation 1."""
    kept = []
    for column in values.T:
        known = column[np.isfinite(column)]
        if len(known) < 0.5 * len(column) or np.unique(known).size < 3:
            continue
        filled = np.where(np.isfinite(column), column, np.median(known))
        if filled.min() >= 0 and filled.std() > 0 and ((filled - filled.mean()) ** 3).mean() / filled.std() ** 3 > 2:
            filled = np.log1p(filled)
        if filled.std() > 1e-9:
            kept.append(np.clip((filled - filled.mean()) / filled.std(), -4, 4))
    return np.column_stack(kept) if kept else np.zeros((len(values), 0))


def shorten(scaled: Floats, seed: int) -> Floats:
    """(N, P) the first principal components."""
    from sklearn.decomposition import PCA

    parts = min(PARTS, scaled.shape[1], len(scaled))
    return np.asarray(PCA(parts, random_state=seed % 2**32, svd_solver="randomized").fit_transform(scaled))


def choose(points: Floats, seed: int) -> tuple[str, int, dict[str, float]]:
    """The way, its number of groups (0: it finds that itself), and the stability of all tried."""
    tried: dict[str, float] = {}
    options = [(way, groups) for way in ("k-means", "mixture") for groups in range(2, MOST + 1)] + [("hdbscan", 0)]
    for way, groups in options:
        tried[f"{way} {groups}" if groups else way] = stability(points, _GROUPERS[way](groups), seed)
    least = max(STEADY, max(tried.values()) - SLACK)
    steady = [(groups, way) for way, groups in options if groups and tried[f"{way} {groups}"] >= least]
    if steady:
        groups = max(steady)[0]
        way = max((way for many, way in steady if many == groups), key=lambda one: tried[f"{one} {groups}"])
        return way, groups, tried
    best = max((option for option in options if option[1]), key=lambda option: tried[f"{option[0]} {option[1]}"])
    return *best, tried


def stability(points: Floats, grouper: Grouper, seed: int) -> float:
    """Mean agreement of groupings of two random halves (of 80 %) on the customers asked about; 0 where one finds a single group."""
    from sklearn.metrics import adjusted_rand_score

    found = []
    for pair in range(PAIRS):
        chance = np.random.default_rng([seed, pair])
        some = chance.permutation(len(points))[:FITTED]
        asked = points[some]
        halves = [chance.permutation(len(asked))[: int(0.8 * len(asked))] for _ in range(2)]
        one, other = (grouper(asked[half], asked, seed + pair) for half in halves)
        single = min(len(np.unique(one)), len(np.unique(other))) < 2
        found.append(0.0 if single else float(adjusted_rand_score(one, other)))
    return round(float(np.mean(found)), 4)


def _kmeans(groups: int) -> Grouper:
    def group(fitted: Floats, asked: Floats, seed: int) -> NDArray[np.int64]:
        from sklearn.cluster import KMeans

        return np.asarray(
            KMeans(groups, n_init=4, random_state=seed % 2**32).fit(fitted).predict(asked), dtype=np.int64
        )

    return group


def _mixture(groups: int) -> Grouper:
    def group(fitted: Floats, asked: Floats, seed: int) -> NDArray[np.int64]:
        from sklearn.mixture import GaussianMixture

        made = GaussianMixture(
            groups, covariance_type="diag", reg_covar=1e-3, max_iter=200, tol=1e-2, random_state=seed % 2**32
        )
        return np.asarray(made.fit(fitted).predict(asked), dtype=np.int64)

    return group


def _hdbscan(_: int) -> Grouper:
    """Those it leaves out as noise go to the group of their nearest grouped customer."""

    def group(fitted: Floats, asked: Floats, seed: int) -> NDArray[np.int64]:
        from sklearn.cluster import HDBSCAN
        from sklearn.neighbors import KNeighborsClassifier

        label = HDBSCAN(min_cluster_size=max(len(fitted) // 50, 10), copy=True).fit_predict(fitted)
        grouped = label >= 0
        if not grouped.any():
            return np.zeros(len(asked), dtype=np.int64)
        near = KNeighborsClassifier(1).fit(fitted[grouped], label[grouped])
        return np.asarray(near.predict(asked), dtype=np.int64)

    return group


_GROUPERS: dict[str, Callable[[int], Grouper]] = {"k-means": _kmeans, "mixture": _mixture, "hdbscan": _hdbscan}


def _by_size(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same groups numbered from 1, the largest first."""
    _, place, counts = np.unique(label, return_inverse=True, return_counts=True)
    number = np.empty(len(counts), dtype=np.int64)
    number[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return number[place]


def _differences(
    traits: tuple[str, ...], values: Floats, names: Names, mine: NDArray[np.bool_]
) -> tuple[Difference, ...]:
    """The traits of the largest differences; of each family of one trait over several windows (orders_30d, orders_90d) one."""
    found: list[Difference] = []
    for place, name in enumerate(traits):
        column = values[:, place]
        known = np.isfinite(column)
        if known.sum() < 0.5 * len(column) or not known[mine].any() or np.nanstd(column) < 1e-12:
            continue
        ranks = np.full(len(column), np.nan)
        ranks[known] = (rankdata(column[known]) - 1) / max(int(known.sum()) - 1, 1)  # equal values have one rank
        apart = float((np.nanmean(ranks[mine]) - np.nanmean(ranks)) * np.sqrt(12))
        middle = np.nanmedian if np.nanmedian(column[mine]) != np.nanmedian(column) else np.nanmean
        told = float(middle(column[mine])), float(middle(column))
        found.append(Difference(name, round(apart, 3), *told, names.label(name)))
    kept: dict[str, Difference] = {}
    for one in sorted(found, key=lambda one: -abs(one.apart)):
        kept.setdefault(_family(one.trait), one)
    large = [one for one in kept.values() if abs(one.apart) >= APART]
    return tuple(large[:TOLD] or list(kept.values())[:FEW])  # of one that hardly differs, what it differs by most


def _family(trait: str) -> str:
    return "_".join(part for part in trait.split("_") if not (part[:-1].isdigit() or part in ("total", "predicted")))


def _words(lake: Lake) -> dict[str, list[Any]]:
    table = lake.table("profiles")
    found = lake.engine.arrow(f"SELECT user_id, lifecycle, value_tier FROM ({lake.engine.sql(table)}) ORDER BY user_id")
    return {name: found.column(name).to_pylist() for name in ("lifecycle", "value_tier")}


def _shares(values: list[Any], mine: NDArray[np.bool_]) -> dict[str, float]:
    """value -> its share within the segment, most first."""
    some = [str(value) for value, own in zip(values, mine, strict=True) if own and value is not None]
    names, counts = np.unique(some, return_counts=True) if some else (np.array([], dtype=str), np.array([], dtype=int))
    order = np.argsort(-counts, kind="stable")
    return {str(names[at]): round(float(counts[at] / max(len(some), 1)), 4) for at in order}
