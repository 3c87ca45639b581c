"""The marketer's grids as sections of the report, in both languages."""

from __future__ import annotations

import pytest

from huaxiang.report.decided import decided_sections

FOUND = {
    "rfm": [
        {"recency": 5, "frequency": 4, "customers": 30, "spend_mean": 9.0, "spend_share": 0.625},
        {"recency": 1, "frequency": 1, "customers": 10, "spend_mean": 3.0, "spend_share": 0.375},
    ],
    "rules": {
        "pairs": [
            {"one": "<Tea>", "other": "Cups", "customers": 40, "confidence": 0.5, "lift": 2.5, "low": 1.9, "high": 3.2}
        ],
        "held": [
            {
                "over": "traits", "as_of": "2025-03-01", "found_on": 1000, "held_on": 1200, "tested": 30, "held": 1, "version": "abc",
                "rules": [
                    {
                        "given": [["lifecycle", "active"], ["value_tier", "gold"]], "then": ["category", "<Rice>"], "rows": 90,
                        "support": 0.075, "confidence": 0.25, "lift": 3.5, "low": 2.9, "high": 4.2, "p": 0.001,
                    }
                ],
            }
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize(("lang", "title"), [("en", "What goes with what"), ("zh", "常一起购买")])
def test_recency_by_frequency_and_rules_have_their_sections(lang, title: str) -> None:
    grid, rules = decided_sections(FOUND, lang, "CNY")
    assert (grid.name, rules.name, rules.title) == ("rfm", "rules", title)
    assert "62" in grid.body and "38" in grid.body
    assert "2.5 (1.9–3.2)" in rules.body and "50" in rules.body
    assert (
        "3.5 (2.9–4.2)" in rules.body and "7.5" in rules.body and "1,200" in rules.body and "&lt;Rice&gt;" in rules.body
    )
    assert "&lt;Tea&gt;" in rules.body and "<Tea>" not in rules.body
