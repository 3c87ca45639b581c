"""What the guard found as HTML: risks, fake orders, rings, rules and the riskiest cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from huaxiang.apply.guard.show import version_line
from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.words import Lang, Words

CASES, RINGS = 20, 10  # shown


def guard_body(found: Mapping[str, Any], lang: Lang, *, currency: str = "") -> Markup:
    """reports/guard.json as a body of the report. found: its content (GuardReport.to_dict)."""
    words, numbers = Words(lang), Numbers(lang, currency)
    fakes, taught = found["fake_orders"], found["learned"]
    bars = [
        Bar(words(f"guard.risk.{name}"), figures["above"], numbers.number(figures["above"]), words("guard.show.most") + f" {figures['most']:.2f}")
        for name, figures in found["risks"].items()
    ]  # fmt: skip
    return render(
        "guard.html",
        "huaxiang.report",
        lang=lang,
        head=words("guard.show.head", users=numbers.number(found["users"]), orders=numbers.number(found["orders"]), as_of=found["as_of"], days=found["days"]),
        chart=charts.bars(bars, lang=lang, title=words("guard.show.above")),
        actions=[(words(f"guard.action.{name}"), numbers.number(count)) for name, count in found["actions"].items()],
        rules=[words("guard.show.rule", name=name, matched=numbers.number(effect["matched"]), decided=numbers.number(effect["decided"])) for name, effect in found["rules"].items()],
        fakes=words("guard.show.fakes", orders=numbers.number(fakes["orders"]), users=numbers.number(fakes["users"]), amount=numbers.money(fakes["amount"]))
        if fakes["orders"]
        else words("guard.show.no_fakes"),
        learned=_learned(taught, words),
        rings=[_ring(row, numbers, words) for row in found["rings"][:RINGS]],
        cases=[_case(case, words) for case in found["cases"][:CASES]],
        open=words("guard.show.cases", count=numbers.number(found["open_cases"])),
        missing=words("guard.show.missing", names=", ".join(found["missing"])) if found["missing"] else "",
        version=version_line(found["as_of"], found["definition"], found["model"], words),
    )  # fmt: skip


def _learned(taught: Mapping[str, Any], words: Words) -> str:
    if taught["by_model"] is None:
        return words("guard.show.few_verdicts", fraud=taught["fraud"], fine=taught["fine"])
    figures = {"model": f"{taught['by_model']:.3f}", "score": f"{taught['by_score']:.3f}", "sd": f"{taught['sd']:.3f}"}
    key = "guard.show.learned" if taught["used"] else "guard.show.not_better"
    return words(key, fraud=taught["fraud"], fine=taught["fine"], **figures)


def _ring(row: Mapping[str, Any], numbers: Numbers, words: Words) -> dict[str, str]:
    shares = ", ".join(f"{words(f'guard.kind.{kind}')} {numbers.number(count)}" for kind, count in row["kinds"].items())
    return {"users": numbers.number(row["users"]), "shares": shares, "density": numbers.number(row["density"], 2)}


def _case(case: Mapping[str, Any], words: Words) -> dict[str, Any]:
    return {
        "id": case["case_id"],
        "score": f"{case['score']:.2f}",
        "risk": words(f"guard.risk.{case['risk']}"),
        "action": words(f"guard.action.{case['action']}"),
        "user": case["user_id"],
        "why": [words.either(f"guard.reason.{code}", code) for code in case["reasons"]],
        "orders": ", ".join(str(order["order"]) for order in case["evidence"]["orders"][:3]),
    }
