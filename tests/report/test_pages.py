"""Pages: self-contained, safe, in both languages, right in a real browser from phone to desk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from huaxiang.clean.quality import QualityReport, Rows, Scores, Sides
from huaxiang.engine import Engine, Lake
from huaxiang.look.numbers import Numbers
from huaxiang.models.card import ModelScore, ScoreCard
from huaxiang.profile.page import profile_fragment, profile_page
from huaxiang.report import quality_page, write_report
from huaxiang.report.gather import gather
from huaxiang.report.overview import overview
from huaxiang.settings import Settings, ShopSettings

from .example import document, empty_document

SETTINGS = Settings(shop=ShopSettings(name="Tea & <b>Co</b>", currency="CNY", timezone="Asia/Shanghai"))
SCORES = Scores(completeness=0.9, uniqueness=1.0, overall=0.95)
QUALITY = QualityReport("2024-01-01T00:00:00", 1.0, Rows(10, 8, 2), Sides(SCORES, SCORES), {})
CARD = ScoreCard(
    outcome="churn_30d",
    kind="binary",
    status="trained",
    worth_using=True,
    meaning={"en": "buys nothing in the next 30 days", "zh": "未来 30 天不再购买"},
    why={"en": "it had the least log loss", "zh": "对数损失最小"},
    version="1",
    model="lightgbm",
    baseline="prior",
    models=[
        ModelScore(
            "prior",
            {},
            [],
            {},
            {},
            {"roc_auc": {"value": 0.5, "low": None, "high": None}},
            None,
            "none",
            0.01,
            300,
            0.1,
        ),
        ModelScore(
            "lightgbm",
            {},
            [],
            {"roc_auc": {"mean": 0.8, "sd": 0.01, "n": 5}},
            {},
            {"roc_auc": {"value": 0.84, "low": 0.8, "high": 0.9}},
            0.3,
            "none",
            2.0,
            90_000,
            0.1,
        ),
    ],
    calibration={"bins": [{"predicted": 0.1, "observed": 0.12, "low": 0.1, "high": 0.15, "count": 9}], "ece": 0.02},
    lift={"share": 0.1, "value": 3.8, "low": 3.4, "high": 4.2},
    gains=[{"share": 0.0, "captured": 0.0}, {"share": 0.5, "captured": 0.9}, {"share": 1.0, "captured": 1.0}],
    business={
        "value": 12.0,
        "cost": 1.5,
        "share": 0.36,
        "top": {"value": 0.9},
        "all": {"value": 0.1},
        "random": {"value": -0.1},
    },
    importance=[{"feature": "orders_90d", "effect": 0.4}],
)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def fill(lake: Lake) -> None:
    """Two customers: a buys in January and February, b in January only; b's refund is no revenue."""
    day = datetime(2024, 1, 1, 20)  # 4 in the morning of 2 January in Shanghai
    rows = [
        ("a", "purchase", "o1", 10.0, day),
        ("b", "purchase", "o2", 20.0, day + timedelta(days=9)),
        ("a", "purchase", "o3", 30.0, day + timedelta(days=40)),
        ("b", "refund", "o2", 20.0, day + timedelta(days=120)),
    ]
    columns = list(zip(*rows, strict=True))
    events = pa.table(
        {
            "user_id": columns[0],
            "event": columns[1],
            "item_id": ["i"] * 4,
            "order_id": columns[2],
            "amount": columns[3],
            "ts": pa.array(columns[4], pa.timestamp("us")),
            "category": ["<script>x</script>"] * 4,
        }
    )
    with lake.step("build") as step:
        step.replace("ready.events", events)
        step.note["as_of"] = "2024-05-01"
        step.note["features"] = [
            {"name": "orders_90d", "unit": "orders", "meaning_en": "Orders", "meaning_zh": "订单", "group": "money"}
        ]
    with lake.step("profile") as step:
        step.replace(
            "profiles",
            pa.table({"user_id": ["a", "b"], "lifecycle": ["lost", "lost"], "value_tier": ["gold", "bronze"]}),
        )


def test_gathered_rows_are_the_ones_worked_out_by_hand(lake: Lake) -> None:
    fill(lake)
    found = gather(lake, SETTINGS)
    assert found.totals["revenue"] == 60.0
    assert found.totals["refunded"] == 20.0
    assert found.totals["orders"] == 3
    assert found.unit == "week"
    assert sum(row["revenue"] for row in found.series) == 60.0
    assert len(found.series) == 18  # every week from 1 January to 29 April, the empty ones too
    assert {(row["weekday"], row["hour"]) for row in found.rhythm} == {(1, 4), (3, 4), (6, 4)}
    cohorts = {(row["cohort"].month, row["age"]): (row["customers"], row["share"]) for row in found.cohorts}
    assert cohorts == {(1, 0): (2, 1.0), (1, 1): (2, 0.5)}
    assert {(row["lifecycle"], row["value_tier"], row["customers"]) for row in found.stages} == {
        ("lost", "gold", 1),
        ("lost", "bronze", 1),
    }


def test_the_report_says_what_was_kept_out_as_held_fake(lake: Lake) -> None:
    fill(lake)
    numbers = Numbers("en", "")
    assert overview(gather(lake, SETTINGS), numbers, "en")["kept_out"] == ""
    with lake.step("build") as step:
        step.note["fakes"] = {"orders": 1, "events": 1200, "users": 3}
    found = gather(lake, SETTINGS)
    said = "Kept out of the profiles: 1 order held fake (1,200 events of 3 customers)."
    assert overview(found, numbers, "en")["kept_out"] == said
    assert "1 笔（3 位顾客的 1,200 条事件）" in overview(found, Numbers("zh", ""), "zh")["kept_out"]


def test_report_of_an_empty_shop_says_what_to_run(lake: Lake, tmp_path: Path) -> None:
    out = write_report(lake, SETTINGS, quality=None, cards=[], profiles=[], out=tmp_path / "r.html", lang="zh")
    text = out.read_text(encoding="utf-8")
    assert "huaxiang collect" in text
    assert "huaxiang clean" in text
    assert 'id="hx-zh" checked' in text


@pytest.fixture
def pages(lake: Lake, tmp_path: Path) -> dict[str, Path]:
    fill(lake)
    report = write_report(
        lake,
        SETTINGS,
        quality=QUALITY,
        cards=[CARD],
        profiles=[document("a"), document("b")],
        out=tmp_path / "report.html",
        lang="en",
    )
    texts = {
        "profile": profile_page(document(), "en"),
        "nobody": profile_page(empty_document(), "zh"),
        "quality": quality_page(QUALITY, "en"),
        "fragment": f"<!doctype html><meta charset=utf-8><body>{profile_fragment(document(), 'zh')}",
    }
    paths = {"report": report}
    for name, text in texts.items():
        paths[name] = tmp_path / f"{name}.html"
        paths[name].write_text(text, encoding="utf-8")
    return paths


def test_pages_ask_nothing_of_the_network_and_escape_what_a_shop_wrote(pages: dict[str, Path]) -> None:
    for path in pages.values():
        text = path.read_text(encoding="utf-8")
        assert len(text) < 1_500_000
        assert not re.search(r"""(src|href|action|poster)\s*=\s*["']?\s*(https?:)?//""", text)
        assert not re.search(r"url\(|@import|<script|<iframe|<object|javascript:| on\w+=", text), path
        assert "<b>Co</b>" not in text


def test_ids_are_unique_and_citations_lead_somewhere(pages: dict[str, Path]) -> None:
    for name in ("report", "profile"):
        text = pages[name].read_text(encoding="utf-8")
        ids = re.findall(r'\sid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_page_speaks_both_languages_and_a_fragment_one(pages: dict[str, Path]) -> None:
    text = pages["profile"].read_text(encoding="utf-8")
    assert "What comes next" in text
    assert "接下来会怎样" in text
    assert "This shop records no ties." in text
    fragment = pages["fragment"].read_text(encoding="utf-8")
    assert "What comes next" not in fragment
    assert "接下来会怎样" in fragment


def test_a_model_behind_a_trait_is_named_in_words() -> None:
    told = document()
    chance = next(one for one in told["sections"]["predictions"]["traits"] if one["source"] == "predicted")
    for origin, said in (("mlp", "预测 · 神经网络（MLP）"), ("fusion", "预测 · 融合"), ("mine", "预测 · mine")):
        chance["origin"] = origin
        assert said in profile_page(told, "zh")


def test_notebook_styles_touch_nothing_outside(pages: dict[str, Path]) -> None:
    fragment = pages["fragment"].read_text(encoding="utf-8")
    sheet = fragment.split("<style>")[1].split("</style>")[0]
    depth, selectors = 0, []
    for line in sheet.splitlines():
        if depth == 0 and "{" in line:
            selectors.append(line.split("{")[0].strip())
        depth += line.count("{") - line.count("}")
    assert depth == 0
    assert all(".hx" in selector or selector.startswith("@media print") for selector in selectors), selectors


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=quiet)
        yield opened
        opened.close()


def test_pages_open_cleanly_from_phone_to_desk(browser: Any, pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        for width in (390, 1280):
            view = browser.new_page(
                viewport={"width": width, "height": 844}, color_scheme="dark" if width == 390 else "light"
            )
            said: list[str] = []
            view.on("console", lambda message, said=said: said.append(message.text))
            view.on("pageerror", lambda error, said=said: said.append(str(error)))
            view.on(
                "request",
                lambda request, said=said: (
                    said.append(request.url) if not request.url.startswith(("file:", "data:")) else None
                ),
            )
            view.goto(path.as_uri())
            view.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert view.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            assert said == [], (name, width)
            view.close()


def test_switches_work_without_a_script(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme="light")
    view = context.new_page()
    view.goto(pages["profile"].as_uri())
    assert view.get_by_role("heading", name="What comes next").is_visible()
    view.locator("label[for=hx-zh]").click()
    assert view.get_by_role("heading", name="接下来会怎样").is_visible()
    assert not view.get_by_role("heading", name="What comes next").is_visible()
    before = view.locator("body").screenshot()
    view.locator("label[for=hx-dark]").click()
    assert view.locator("body").screenshot() != before
    context.close()
