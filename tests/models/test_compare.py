"""`huaxiang compare`: the leaderboard of a shop, from its lake to the terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang import Shop
from huaxiang.errors import ModelError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.models.foresight import Foresight
from huaxiang.models.histories import HistoryReader
from huaxiang.models.next_item import compare, lake
from huaxiang.models.next_item.compare import Leaderboard
from huaxiang.models.next_item.lake import read_items, read_pieces, read_shop
from huaxiang.models.next_item.show import show_leaderboard
from huaxiang.models.past import item_events
from huaxiang.models.why import read_history
from huaxiang.report.board import board_body
from huaxiang.words import Lang

KNOWN = ("order_id", "user_id", "item_id", "category", "quantity", "price", "order_time")
BARE = ("order_id", "user_id", "item_id", "order_time")


def make_shop(folder: Path, rows: list[tuple[object, ...]], columns: Sequence[str] = KNOWN) -> Shop:
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(rows)
    shop = Shop.init(folder / "shop", [str(folder / "orders.csv")])
    shop.collect()
    shop.clean()
    shop.build()
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    random = np.random.default_rng(4)
    rows, number = [], 0
    for user in range(120):
        item = int(random.integers(30))
        for step in range(int(random.integers(3, 9))):
            number += 1
            day = 1 + user % 20 + step * 25
            when = np.datetime64("2025-01-01T10:00:00") + np.timedelta64(day, "D")
            rows.append(
                (f"o{number}", f"u{user}", f"i{item}", f"C{item // 10}", 1, 5 + item, str(when).replace("T", " "))
            )
            item = item // 10 * 10 + (item + 1) % 10 if random.random() < 0.8 else int(random.integers(30))
    return make_shop(tmp_path_factory.mktemp("compare"), rows)


@pytest.fixture(scope="module")
def grocer(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Customers who take their own three staples in turn, now and then something else; nothing is known of an item."""
    random = np.random.default_rng(5)
    rows = []
    for user in range(80):
        staples = random.permutation(40)[:3]
        for step in range(int(random.integers(8, 14))):
            item = int(staples[step % 3]) if random.random() < 0.8 else int(random.integers(40))
            when = np.datetime64("2025-01-01T10:00:00") + np.timedelta64(user % 20 + step * 12, "D")
            rows.append((f"o{len(rows)}", f"u{user}", f"i{item}", str(when).replace("T", " ")))
    return make_shop(tmp_path_factory.mktemp("grocer"), rows, BARE)


@pytest.fixture(scope="module")
def repeated(grocer: Shop) -> Leaderboard:
    return grocer.compare(only=["popular", "again", "neighbours", "transformer", "behaviour"])


def test_sequences_are_in_the_order_of_time_and_an_item_in_a_row_counts_once(tmp_path: Path) -> None:
    rows = [
        ("o1", "a", "x", "C", 1, 3, "2025-01-03 10:00:00"),
        ("o2", "a", "y", "C", 1, 3, "2025-01-01 10:00:00"),
        ("o3", "a", "y", "C", 1, 3, "2025-01-02 10:00:00"),
        ("o4", "b", "x", "C", 1, 3, "2025-01-02 10:00:00"),
    ]
    with make_shop(tmp_path, rows) as opened:
        every, items, users = read_shop(opened.lake)
        named = {
            users[user]: [items.ids[item] for item in every.take(np.array([user])).item] for user in range(len(every))
        }
        of = opened.pseudonyms().of
        assert named == {of("a"): ["y", "x"], of("b"): ["x"]}
        assert items.tags is not None and items.tags.shape[0] == 2


def test_leaderboard_asks_both_splits_and_says_what_each_model_costs(shop: Shop) -> None:
    found = shop.compare(only=["popular", "content", "neighbours", "behaviour"])
    assert [board.split for board in found.boards] == ["leave-one-out", "by time"]
    for board in found.boards:
        assert {entry.name for entry in board.entries} == {"popular", "content", "neighbours", "behaviour", "fusion"}
        best = [entry.valid["ndcg@10"]["mean"] for entry in board.entries]
        single = next(entry.name for entry in board.entries if entry.name != "fusion")
        assert best == sorted(best, reverse=True) and board.chosen in (single, board.entries[0].name)
        assert all(entry.seconds >= 0 and entry.bytes > 0 and entry.ms_per_user > 0 for entry in board.entries)
    tests = {entry.name: entry.test["recall@10"]["mean"] for entry in found.boards[0].entries}
    assert tests["neighbours"] > tests["popular"]
    assert Leaderboard.from_json(found.to_json()) == found
    assert Leaderboard.from_json((shop.folder / "reports" / "leaderboard.json").read_text(encoding="utf-8")) == found


def test_where_customers_take_the_same_again_all_is_chosen_by_what_counts_it(repeated: Leaderboard) -> None:
    for board in repeated.boards:
        assert board.repeats
        entries = {entry.name: entry for entry in board.entries}
        single = [entry for entry in board.entries if entry.name != "fusion"]
        assert single[0].valid["unmasked_ndcg@10"]["mean"] == max(
            entry.valid["unmasked_ndcg@10"]["mean"] for entry in single
        )
        assert all(entries[name].config["repeats"] for name in ("transformer", "behaviour"))


def test_where_nothing_is_known_of_items_the_behaviour_model_reads_what_is_known_of_events(
    repeated: Leaderboard,
) -> None:
    for board in repeated.boards:
        entry = next(entry for entry in board.entries if entry.name == "behaviour")
        assert {"kind", "ts"} <= set(entry.needs) and not {"tags", "content"} & set(entry.needs)


def test_the_fusion_has_every_model_as_a_part(repeated: Leaderboard) -> None:
    for board in repeated.boards:
        fusion = next(entry for entry in board.entries if entry.name == "fusion")
        assert set(fusion.config["parts"]) == {entry.name for entry in board.entries} - {"fusion"}
        assert [len(weights) for weights in fusion.config["weights"]] == [5]


@pytest.mark.parametrize(("lang", "masked"), [("en", "masked"), ("zh", "排除已有")])
def test_where_customers_take_the_same_again_the_figures_count_it(
    repeated: Leaderboard, lang: Lang, masked: str
) -> None:
    """ "The same again" lists nothing that was not had: masked all its figures are nought."""
    for board in repeated.boards:
        entry = next(entry for entry in board.entries if entry.name == "again")
        for name in ("recall@10", "ndcg@10", "mrr@10"):
            assert entry.test[name]["mean"] == 0.0
            assert (
                board.figure(entry, name) == entry.test[f"unmasked_{name}"] and board.figure(entry, name)["mean"] > 0.3
            )  # type: ignore[index]
        assert board.figure(entry, "coverage@10")["mean"] > 0.5  # type: ignore[index]
        assert board.figure(entry, "unmasked_ndcg@10") == entry.test["ndcg@10"]
        shown = f"{entry.test['unmasked_ndcg@10']['mean']:.4f}"
        page, console = str(board_body(repeated, lang)), Console(width=160, record=True, file=StringIO())
        show_leaderboard(repeated, console, lang)
        assert page.count(shown) >= 2  # the bar and the row
        assert shown in console.export_text(clear=False) and masked in console.export_text() and f">{masked}<" in page


def test_a_leaderboard_of_an_older_version_is_shown(repeated: Leaderboard) -> None:
    """It had no lists of what was had, and said in English alone why a split was left out."""
    saved = json.loads(repeated.to_json())
    for board in saved["boards"]:
        for entry in board["entries"]:
            del entry["test"]["unmasked_coverage@10"]
    saved["left_out"] = {"by time": "the events have no times"}
    old = Leaderboard.from_json(json.dumps(saved))
    assert "the events have no times" in str(board_body(old, "zh")) and "–" in str(board_body(old, "en"))


def test_why_a_split_is_left_out_is_said_in_the_language_that_is_read(tmp_path: Path) -> None:
    rows = [
        (f"o{user}{day}", f"u{user}", f"i{day}", f"2025-01-{day + 1:02d} 10:00:00") for user in (1, 2) for day in (0, 1)
    ]
    rows += [(f"o3{day}", "u3", f"i{day}", "2025-01-02 10:00:00") for day in range(4)]  # all at once: no split by time
    with make_shop(tmp_path, rows, BARE) as opened:
        found = opened.compare(only=["popular"])
    assert set(found.left_out) == {"by time"}
    console = Console(width=160, record=True, file=StringIO())
    show_leaderboard(found, console, "zh")
    for text in (console.export_text(), str(board_body(found, "zh"))):
        assert "no customer" not in text and "顾客" in text.partition("未进行")[2]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [80, 120])
def test_leaderboard_fits_the_terminal(shop: Shop, lang: str, width: int) -> None:
    found = shop.compare(only=["popular", "neighbours"])
    console = Console(width=width, record=True)
    show_leaderboard(found, console, lang)  # type: ignore[arg-type]
    text = console.export_text()
    assert "…" not in text and "★" in text
    assert max(map(len, text.splitlines())) <= width


def test_unknown_model_is_named(shop: Shop) -> None:
    with pytest.raises(ModelError, match="svd"):
        shop.compare(only=["svd"])


def test_read_piece_by_piece_the_shop_is_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Customers come in another order, and no model that looks at counts alone can tell."""
    only = ["popular", "again", "content", "neighbours"]
    whole, pieces = shop.compare(only=only), []
    real = lake.read_pieces

    def counted(*given: Any, **more: Any) -> Any:
        for some in real(*given, **more):
            pieces.append(len(some[0]))
            yield some

    monkeypatch.setattr(lake, "PIECE", 100)
    monkeypatch.setattr(lake, "read_pieces", counted)
    parts = shop.compare(only=only)
    assert len(pieces) > 3 and sum(pieces) == whole.users == parts.users == parts.every_user
    for one, other in zip(whole.boards, parts.boards, strict=True):
        figures = {entry.name: entry.test for entry in one.entries}
        for entry in other.entries:
            if entry.name == "fusion":  # its weights are found on halves of the questions, which come in another order
                continue
            for metric, value in entry.test.items():
                assert value["mean"] == pytest.approx(figures[entry.name][metric]["mean"], abs=1e-6), (
                    entry.name,
                    metric,
                )


def test_of_a_great_shop_a_part_is_compared_and_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake, "PIECE", 100)
    monkeypatch.setattr(compare, "EVENTS", 300)
    monkeypatch.setattr(compare, "ASKED", 20)
    found = shop.compare(only=["popular"])
    assert 300 <= found.events < 420 and found.users < found.every_user == 120
    assert all(15 <= board.questions <= 20 for board in found.boards)  # of those drawn, some have nothing to be asked
    console = Console(width=160, record=True, file=StringIO())
    show_leaderboard(found, console, "en")
    assert f"The shop has 120 customers with an event of an item; {found.users} of them" in console.export_text()


def test_shop_of_one_customer_says_so(tmp_path: Path) -> None:
    with (
        make_shop(tmp_path, [("o1", "a", "x", "C", 1, 3, "2025-01-03 10:00:00")]) as opened,
        pytest.raises(ModelError, match=r"no customer .* \(leave-one-out, by time\)"),
    ):
        opened.compare()


def test_events_in_a_row_on_one_item_count_as_what_tells_most(tmp_path: Path) -> None:
    with (tmp_path / "clicks.csv").open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["user_id", "item_id", "behavior", "price", "ts"])
        for user in ("ann", "bob"):
            for minute, (item, event) in enumerate(
                [("a", "pv"), ("a", "cart"), ("a", "buy"), ("a", "pv"), ("b", "pv"), ("a", "pv"), ("a", "fav")]
            ):
                writer.writerow([user, item, event, 5 + minute, f"2025-03-0{1 + minute // 4} 10:{minute:02d}:00"])
    shop = Shop.init(tmp_path / "shop", [str(tmp_path / "clicks.csv")])
    shop.collect()
    shop.clean()
    shop.build()
    with shop, shop.lake.step("train") as step:
        met = read_items(step)
        read, _ = next(iter(read_pieces(step, met)))
        reader = HistoryReader.of(step, shop.settings)
        assert reader is not None
        seen = reader.read(
            pa.array([shop.pseudonyms().of(name) for name in ("ann", "bob")]), np.array(["2025-03-09"] * 2)
        )
        foresight = Foresight({}, (), (), "", met.items.ids, {}, (), {})
        shown, events = read_history(step.lake, foresight, shop.pseudonyms().of("ann"))
    kinds = [EVENT_CODES[name] for name in ("purchase", "view", "wish")]
    assert read.kind is not None
    assert read.kind.tolist() == kinds * 2
    assert read.item.tolist() == [0, 1, 0] * 2
    past = item_events(seen.events, met)
    assert past.kind is not None
    assert past.kind.tolist() == kinds * 2
    assert past.item.tolist() == read.item.tolist()
    assert shown.kind is not None
    assert shown.kind.tolist() == kinds
    assert [event["event"] for event in events] == ["purchase", "view", "wish"]
