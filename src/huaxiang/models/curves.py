"""Curves of a score card: reliability, gains, lift, and what acting on the top k earns."""

from __future__ import annotations

from typing import Any

import numpy as np

from huaxiang.models.metrics import Floats

SHARES = tuple(round(step / 20, 2) for step in range(21))  # where the gains curve is drawn
Z = 1.959963984540054  # 97.5 % point of the normal distribution


def wilson(hits: Floats | float, count: Floats | float) -> tuple[Floats, Floats]:
    """The 95 % Wilson interval of a share of `hits` in `count`."""
    n = np.maximum(np.asarray(count, float), 1e-9)
    share = np.asarray(hits, float) / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def bin_edges(p: Floats, bins: int) -> Floats:
    """Inner edges of at most `bins` bins of about equal count; equal values stay together."""
    return np.unique(np.quantile(p, np.arange(1, bins) / bins)) if len(p) else np.empty(0)


def reliability(y: Floats, p: Floats, *, bins: int = 10) -> list[dict[str, Any]]:
    """Bins of equal count: mean predicted, share observed with its 95 % Wilson interval, count."""
    place = np.searchsorted(bin_edges(p, bins), p, side="left")
    found = []
    for k in np.unique(place):
        inside = place == k
        count, hits = int(inside.sum()), float(y[inside].sum())
        low, high = wilson(hits, count)
        found.append(
            {
                "predicted": float(p[inside].mean()),
                "observed": hits / count,
                "low": float(low),
                "high": float(high),
                "count": count,
            }
        )
    return found


def calibration_error(y: Floats, p: Floats, *, bins: int = 10) -> float:
    """ECE: mean |predicted − observed| over bins, weighted by their count."""
    return sum(row["count"] / len(y) * abs(row["predicted"] - row["observed"]) for row in reliability(y, p, bins=bins))


def number_bins(y: Floats, p: Floats, *, bins: int = 10) -> list[dict[str, Any]]:
    """Bins of equal count for numbers: mean predicted, mean observed with its 95 % normal interval, count."""
    place = np.searchsorted(bin_edges(p, bins), p, side="left")
    found = []
    for k in np.unique(place):
        seen = y[place == k]
        half = Z * float(seen.std()) / np.sqrt(len(seen))
        mean = float(seen.mean())
        predicted = float(p[place == k].mean())
        found.append(
            {"predicted": predicted, "observed": mean, "low": mean - half, "high": mean + half, "count": len(seen)}
        )
    return found


def gains(y: Floats, p: Floats) -> list[dict[str, float]]:
    """Share of all positives (or of the total amount) caught among the top share of users, by score."""
    total = float(y.sum())
    caught = np.append(0.0, np.cumsum(_by_score(y, p)))
    places = [int(np.ceil(share * len(y))) for share in SHARES]
    return [
        {"share": share, "captured": float(caught[k] / total) if total else 0.0}
        for share, k in zip(SHARES, places, strict=True)
    ]


def lift_at(y: Floats, p: Floats, share: float = 0.1) -> float:
    """How many times the average the top `share` of users holds."""
    k = max(1, int(np.ceil(share * len(y))))
    average = float(y.mean())
    return float(_by_score(y, p)[:k].mean() / average) if average else float("nan")


def best_share(y: Floats, p: Floats, *, value: float, cost: float) -> float:
    """The top share of users whose treatment earns most: value·TP − cost·k is largest (0: act on nobody)."""
    earned = np.append(0.0, np.cumsum(value * _by_score(y, p) - cost))
    return float(np.argmax(earned) / len(y))


def earned_per_user(y: Floats, p: Floats, share: float, *, value: float, cost: float) -> dict[str, float]:
    """Money earned per user of the population by acting on the top `share`, on all, and on a random `share`."""
    k = round(share * len(y))
    return {
        "top": float((value * _by_score(y, p)[:k] - cost).sum() / len(y)),
        "all": float(value * y.mean() - cost),
        "random": float(share * (value * y.mean() - cost)),
    }


def best_threshold(y: Floats, p: Floats) -> float:
    """The probability from which calling a case positive gives the largest F1: midway to the next lower score."""
    order = np.argsort(-p, kind="stable")
    score, hits = p[order], np.cumsum(y[order])
    last = np.append(score[1:] != score[:-1], True)
    f1 = np.where(last, 2 * hits / (np.arange(1, len(y) + 1) + max(float(y.sum()), 1.0)), -1.0)
    best = int(np.argmax(f1))
    below = score[best + 1] if best + 1 < len(score) else 0.0
    return float((score[best] + below) / 2)


def _by_score(y: Floats, p: Floats) -> Floats:
    """`y` by falling score; users with equal scores share their mean, so that no lucky order counts."""
    order = np.argsort(-p, kind="stable")
    score, ordered = p[order], y[order].astype(float)
    starts = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
    counts = np.diff(np.append(starts, len(score)))
    return np.repeat(np.add.reduceat(ordered, starts) / counts, counts)
