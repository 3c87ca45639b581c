"""What uplift and campaigns found, as a piece of the report, in both languages."""

from __future__ import annotations

import pytest

from huaxiang.report.uplift import campaigns_body, uplift_body

RANKING = {
    "qini": 0.06,
    "qini_interval": [0.03, 0.09],
    "auuc": 0.031,
    "auuc_random": 0.025,
    "effect": 0.05,
    "effect_interval": [0.04, 0.06],
}
EFFECT = {
    "basis": "effect",
    "as_of": "2024-01-01",
    "version": "abc",
    "uplift": {
        "ranking": RANKING,
        "is_null": False,
        "curve": [[0.0, 0.0], [0.5, 0.04], [1.0, 0.05]],
        "peers": {"propensity": 0.03, "random": 0.0},
    },
}
REDEMPTION = {
    "basis": "redemption",
    "as_of": "2024-01-01",
    "version": "abc",
    "redemption": {
        "targeted": 0.447,
        "targeted_interval": [0.37, 0.5],
        "by_spend": 0.3,
        "random": 0.17,
        "top_share": 0.2,
        "captured": 0.53,
        "roc_auc": 0.78,
        "is_null": False,
    },
}
READING = {
    "metric": "purchase",
    "days": 14,
    "difference": {"treated": 100, "holdout": 50, "estimate": 0.02, "interval": [-0.01, 0.05]},
    "is_null": True,
    "repeated": 3,
}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_effects_redemption_and_campaigns_say_their_figures(lang) -> None:
    assert "0.06" in uplift_body(EFFECT, lang)
    assert "44.7" in uplift_body(REDEMPTION, lang)
    assert "0.02" in campaigns_body({"<b>spring": READING}, lang)
    assert "<b>spring" not in campaigns_body({"<b>spring": READING}, lang)


def test_redemption_is_never_called_uplift() -> None:
    assert "not uplift" in uplift_body(REDEMPTION, "en")
    assert "no effect shown" in campaigns_body({"x": READING}, "en")
