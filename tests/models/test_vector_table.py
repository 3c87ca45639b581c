"""The table of what the vector knows, from score cards; on the terminal in both languages."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from huaxiang.models.card import ModelScore, ScoreCard
from huaxiang.models.show import show_vector_table
from huaxiang.models.vector_table import Figure, vector_table


def score(name: str, metric: str, value: float | None, wide: float = 0.01) -> ModelScore:
    span: dict[str, Any] = {"value": value, "low": value and value - wide, "high": value and value + wide}
    return ModelScore(name, {}, [], {}, {}, {metric: span}, None, "none", 1.0, 10, 0.1)


def card(outcome: str, kind: Any, models: list[ModelScore]) -> ScoreCard:
    return ScoreCard(outcome, kind, "trained", True, {"en": outcome}, {}, models=models, data={"rows": {"test": 50}})


CARDS = [
    card("churn", "binary", [score("logistic", "roc_auc", 0.7), score("vector", "roc_auc", 0.6), score("vector_features", "roc_auc", 0.75)]),
    card("spend", "number", [score("linear", "r2", 0.31), score("vector", "r2", 0.3), score("vector_features", "r2", 0.315)]),
    card("age", "class", [score("logistic", "roc_auc", None), score("vector", "roc_auc", 0.6), score("vector_features", "roc_auc", 0.5)]),
    card("next", "binary", [score("logistic", "roc_auc", 0.7), score("vector", "roc_auc", 0.867), score("vector_features", "roc_auc", 0.868)]),
    card("old", "binary", [score("logistic", "roc_auc", 0.7)]),
]  # fmt: skip


def test_each_outcome_the_vector_was_asked_about_has_a_row() -> None:
    rows = vector_table(CARDS)
    assert [(row.outcome, row.metric, row.best, row.rows) for row in rows] == [
        ("churn", "roc_auc", "both", 50),
        ("spend", "r2", "", 50),  # no side is surely better than another
        ("age", "roc_auc", "vector", 50),  # what was not measured does not count
        ("next", "roc_auc", "", 50),  # surely better than one side, by chance better than the other
    ]
    assert rows[0].sides["features"] == Figure(0.7, 0.7 - 0.01, 0.7 + 0.01)
    assert rows[2].sides["features"].value is None


def test_the_table_shows_in_both_languages_and_says_so_where_there_is_none() -> None:
    for lang, head in (("en", "features"), ("zh", "特征")):
        console = Console(width=140, record=True, file=None, quiet=False)
        with console.capture() as shown:
            show_vector_table(vector_table(CARDS), console, lang)  # type: ignore[arg-type]
        text = shown.get()
        assert head in text and "0.750 (0.740–0.760)" in text and "–" in text
    console = Console(width=140)
    with console.capture() as shown:
        show_vector_table([], console, "en")
    assert "huaxiang train" in shown.get()


def test_a_trained_shop_without_vectors_is_not_told_to_train() -> None:
    for lang, text in (("en", "The last training had no vectors"), ("zh", "上次训练没有")):
        console = Console(width=140)
        with console.capture() as shown:
            show_vector_table([], console, lang, trained=True, why="PyTorch")  # type: ignore[arg-type]
        said = shown.get()
        assert text in said and "PyTorch" in said and "huaxiang train" not in said
