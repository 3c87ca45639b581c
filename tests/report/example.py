"""A made-up customer, small and hostile: titles hold scripts, quotes, right-to-left letters."""

from __future__ import annotations

from typing import Any

HOSTILE = "<script>alert(\"x\")</script>\u202eابت 😀 'quoted'"


def trait(name: str, value: Any, text: str, **more: Any) -> dict[str, Any]:
    evidence = {"definition": name, "version": "ab12", "meaning": {"en": "what it means", "zh": "含义"}, "count": 1}
    return {
        "name": name,
        "label": {"en": f"{name} label", "zh": f"{name} 名称"},
        "value": value,
        "text": {"en": text, "zh": text},
        "unit": more.pop("unit", ""),
        "confidence": 0.8,
        "source": more.pop("source", "computed"),
        "origin": "huaxiang",
        "as_of": "2018-01-01T05:00:00Z",
        "expires": "2018-01-31T05:00:00Z",
        "evidence": evidence | {"events": [], "reasons": [], "model": None} | more,
    }


def document(user: str = "k3v9q0b7m2xa") -> dict[str, Any]:
    event = {
        "ts": "2017-12-29T23:14:00Z",
        "event": "purchase",
        "item_id": "1",
        "title": HOSTILE,
        "category": HOSTILE,
        "amount": 0.98,
    }
    reasons = [
        {
            "feature": "recency_days",
            "label": {"en": "Last purchase", "zh": "最近购买"},
            "value": 3,
            "effect": -1.4,
            "text": {"en": "3 days ago", "zh": "3 天前"},
        }
    ]
    chance = {
        "unit": "probability",
        "source": "predicted",
        "low": 0.01,
        "high": 0.06,
        "threshold": 0.38,
        "reasons": reasons,
        "model": {"name": "lightgbm", "version": "9f2c"},
    }
    sections = {
        "basic": {
            "traits": [
                trait("lifecycle", "active", "active"),
                trait("value_tier", "gold", "gold"),
                trait("tenure_days", 359, "359 days"),
            ],
            "absent": None,
        },
        "behaviour": {
            "traits": [
                trait("spend_365d", 4182.37, "$4,182.37", events=[event]),
                trait("hour_hist", [1 / 24] * 24, "all day"),
                trait("weekday_hist", [1 / 7] * 7, "all week"),
            ],
            "absent": None,
        },
        "interests": {
            "traits": [trait("top_categories", [{"key": HOSTILE, "share": 0.6, "score": 2.0}], HOSTILE)],
            "absent": None,
        },
        "social": {"traits": [], "absent": {"en": "This shop records no ties.", "zh": "本店没有记录联系。"}},
        "predictions": {"traits": [trait("churn_30d", 0.031, "3.1%", **chance)], "absent": None},
        "risk": {"traits": [], "absent": None},
        "tags": {"traits": [], "absent": None},
        "persona": {"traits": [], "absent": None},
    }
    return {
        "schema": "huaxiang.profile/1",
        "user_id": user,
        "shop": f"Shop {HOSTILE}",
        "currency": "USD",
        "as_of": "2018-01-01T05:00:00Z",
        "timezone": "America/New_York",
        "headline": {"lifecycle": "active", "value_tier": "gold"},
        "sections": sections,
        "tags": [{"name": "likes", "en": f"likes {HOSTILE}", "zh": f"偏爱 {HOSTILE}", "because": ["top_categories"]}],
        "persona": [{"en": "A gold customer.", "zh": "黄金顾客。", "cites": ["value_tier", "no_such_trait"]}],
        "timeline": [event, event],
    }


def empty_document() -> dict[str, Any]:
    """A customer of whom nothing is known."""
    sections = {name: {"traits": [], "absent": None} for name in document()["sections"]}
    return document("nobody") | {
        "sections": sections,
        "tags": [],
        "persona": [],
        "timeline": [],
        "headline": {},
        "timezone": None,
    }
