"""From a finished contest to its score card."""

from __future__ import annotations

from typing import Any

import numpy as np

from huaxiang.models.card import ModelScore, ScoreCard, Texts, learner_versions
from huaxiang.models.contest import Contest, Entry
from huaxiang.models.exam import size_bytes
from huaxiang.models.intervals import fit_intervals
from huaxiang.models.judge import judge_business, judge_curves, judge_importance
from huaxiang.models.labelled import SPLITS, Labelled
from huaxiang.models.metrics import LOSS, measure
from huaxiang.models.predictor import Predictor
from huaxiang.models.zoo import OnnxConfig, config_to_json, file_bytes
from huaxiang.settings import TrainSettings
from huaxiang.words import LANGS, Words


def make_card(
    outcome: dict[str, Any],
    data: Labelled,
    contest: Contest | None,
    predictor: Predictor | None,
    version: str | None,
    *,
    why: Texts | None,
    settings: TrainSettings,
    seconds: float,
) -> ScoreCard:
    """The card of one outcome; without a contest, the card that says `why` it was skipped."""
    about = {
        "outcome": outcome["name"],
        "kind": data.task,
        "meaning": {lang: str(outcome.get(f"meaning_{lang}") or outcome["name"]) for lang in LANGS},
        "within_days": outcome.get("within_days"),
        "among": outcome.get("among") or "",
        "classes": data.classes,
        "seed": settings.seed,
        "versions": learner_versions(),
        "seconds": seconds,
    }
    if contest is None:
        found = _counts(data)
        return ScoreCard(**about, status="skipped", worth_using=False, why=why or {}, data=found)
    winner, seed = contest.winner, settings.seed
    test = contest.truth("test")
    curves = judge_curves(data.task, test, winner.test, seed=seed)
    model = predictor.model if predictor is not None else winner.chosen.model
    recent = data.x.rows(data.rows("test"))
    return ScoreCard(
        **about,
        status="trained" if contest.skill["beats"] else "null",
        worth_using=bool(contest.skill["beats"]),
        why=_why(contest),
        version=version or "",
        model=winner.chosen.name,
        baseline=contest.baseline.chosen.name,
        data=_counts(data) | {"dropped": model.dropped},
        models=[_score(entry, contest) for entry in contest.entries.values()],
        skill=contest.skill | {"loss": LOSS[data.task]},
        threshold={"value": winner.threshold, "rule": contest.rule, "chosen_on": "valid"}
        if data.task == "binary"
        else {},
        calibration={"method": winner.method, "valid_log_loss": winner.losses} | curves["calibration"],
        lift=curves["lift"],
        gains=curves["gains"],
        business=_business(outcome, contest, settings),
        interval=_interval(contest, settings.interval),
        importance=judge_importance(model, recent, seed=seed),
        bytes=winner.under.bytes
        + (len(predictor.to_json().encode()) + file_bytes(model.config) if predictor else size_bytes(model)),
    )


def _counts(data: Labelled) -> dict[str, Any]:
    rows = {split: data.rows(split) for split in SPLITS}
    found: dict[str, Any] = {
        "rows": {split: len(at) for split, at in rows.items()},
        "users": len(np.unique(data.user)),
        "dates": {split: sorted(set(data.date[at].tolist())) for split, at in rows.items()},
        "features": len(data.x.columns),
        "sampled": data.share,
        "left_out_classes": data.left_out,
        "final_fit": list(SPLITS),
    }
    if data.task == "binary":
        found["positives"] = {split: int(data.y[at].sum()) for split, at in rows.items()}
        found["base_rate"] = {split: float(data.y[at].mean()) if len(at) else None for split, at in rows.items()}
    elif data.task == "number":
        found["mean"] = {split: float(data.y[at].mean()) if len(at) else None for split, at in rows.items()}
        found["sd"] = {split: float(data.y[at].std()) if len(at) else None for split, at in rows.items()}
    else:
        counts = np.bincount(data.y.astype(int), minlength=len(data.classes))
        found["classes"] = {name: int(count) for name, count in zip(data.classes, counts, strict=True)}
    return found


def _score(entry: Entry, contest: Contest) -> ModelScore:
    task = contest.data.task
    return ModelScore(
        name=entry.chosen.name,
        settings=config_to_json(entry.chosen.config),
        tried=entry.chosen.tried,
        cv=entry.cv,
        valid=dict(measure(task, contest.truth("valid"), entry.valid, threshold=entry.threshold)),
        test={metric: dict(found) for metric, found in entry.test_metrics.items()},
        threshold=entry.threshold if task == "binary" else None,
        calibration=entry.method,
        seconds=entry.chosen.seconds + entry.under.seconds,
        bytes=size_bytes(entry.chosen.model) + entry.under.bytes,
        ms_per_user=entry.ms_per_user + entry.under.ms_per_user,
        brought=isinstance(entry.chosen.config, OnnxConfig),
    )


def _business(outcome: dict[str, Any], contest: Contest, settings: TrainSettings) -> dict[str, Any]:
    """The business figure; `assumed` where value and cost are the shop's defaults, not the outcome's own."""
    if contest.data.task != "binary":
        return {}
    given = {name: outcome.get(name) for name in ("value", "cost")}
    value, cost = (
        float(settings.value if given["value"] is None else given["value"]),
        float(settings.cost if given["cost"] is None else given["cost"]),
    )
    found = judge_business(
        (contest.truth("valid"), contest.winner.valid),
        (contest.truth("test"), contest.winner.test),
        value=value,
        cost=cost,
        seed=settings.seed,
    )
    return found | {"assumed": None in given.values()}


def _interval(contest: Contest, level: float) -> dict[str, Any]:
    """How the intervals are made; for numbers also how many test truths they held when learned on validation."""
    task = contest.data.task
    if task != "number":
        return {"level": 0.95, "method": "wilson"}
    made = fit_intervals(task, contest.truth("valid"), contest.winner.valid, level=level)
    low, high, _ = made.apply(contest.winner.test)
    truth = contest.truth("test")
    return {
        "level": level,
        "method": "split-conformal",
        "coverage": float(np.mean((truth >= low) & (truth <= high))),
        "width_mean": float(np.mean(high - low)),
    }


def _why(contest: Contest) -> Texts:
    task, skill = contest.data.task, contest.skill
    winner, baseline = contest.winner.chosen.name, contest.baseline.chosen.name
    valid = contest.truth("valid")
    loss = LOSS[task]
    values = [measure(task, valid, entry.valid)[loss] for entry in (contest.winner, contest.baseline)]
    texts: Texts = {}
    for lang in LANGS:
        words = Words(lang)
        texts[lang] = words(
            "models.why.won" if skill["beats"] else "models.why.fell" if skill["won"] else "models.why.null",
            model=words.either(f"models.name.{winner}", winner),
            baseline=words(f"models.name.{baseline}"),
            loss=words(f"models.metric.{loss}"),
            value=f"{values[0]:.4g}",
            baseline_value=f"{values[1]:.4g}",
            skill=f"{1 - values[0] / values[1]:.1%}" if skill["beats"] else f"{skill['value']:.1%}",
            margin=f"{skill['margin']:.0%}",
            low=f"{skill['low']:.1%}",
            high=f"{skill['high']:.1%}",
        )
        if isinstance(contest.winner.chosen.config, OnnxConfig):
            texts[lang] += words("models.brought.winner", model=winner)
    return texts
