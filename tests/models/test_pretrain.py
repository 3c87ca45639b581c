"""`huaxiang train` pre-trains the behaviour model: what it leaves in the lake and in profiles, and what odd shops get."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from huaxiang import Shop
from huaxiang.errors import ModelError
from huaxiang.models.behaviour_table import centred, nearest
from huaxiang.models.card import say
from huaxiang.models.foresight import HOME, load_foresight
from huaxiang.models.next_item.lake import read_items, read_pieces
from huaxiang.models.next_item.sequences import Sequences, from_lists, joined
from huaxiang.models.pretrain import check_version
from huaxiang.profile import profile_schema

from .test_compare import make_shop

Row = tuple[object, ...]


def walkers(users: int = 80, *, seed: int = 4, long: int = 0) -> list[Row]:
    """Orders of customers that walk up the items of one of three categories; the first has `long` events more."""
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for user in range(users):
        item = int(random.integers(30))
        for step in range(int(random.integers(4, 10)) + (long if user == 0 else 0)):
            when = np.datetime64("2025-01-01T10:00:00") + np.timedelta64(60 * 24 * 9 * (step % 40) + user + step, "m")
            price = "" if random.random() < 0.2 else 5 + item
            rows.append(
                (f"o{len(rows)}", f"u{user}", f"i{item}", f"C{item // 10}", 1, price, str(when).replace("T", " "))
            )
            item = item // 10 * 10 + (item + 1) % 10
    return rows


def train(folder: Path, rows: list[Row], settings: str = "") -> Shop:
    shop = make_shop(folder, rows)
    if settings:
        path = shop.folder / "huaxiang.toml"
        path.write_text(f"{path.read_text(encoding='utf-8')}\n[behaviour]\n{settings}\n", encoding="utf-8")
        shop.close()
        shop = Shop.open(shop.folder)
    shop.train()
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    found = train(tmp_path_factory.mktemp("pretrain"), walkers())
    found.profiles()
    return found


def copied(shop: Shop, folder: Path) -> Shop:
    """The same shop, keys and all."""
    return Shop.open(shutil.copytree(shop.folder, folder / "copy"))


def behaviour(shop: Shop) -> list[dict[str, Any]]:
    return shop.engine.rows(shop.engine.sql(shop.lake.table("behaviour")))


def numbers(value: Any) -> list[float]:
    """Every number within a document."""
    if isinstance(value, dict):
        return [one for inner in value.values() for one in numbers(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in numbers(inner)]
    return [value] if isinstance(value, float) else []


def test_every_customer_has_a_vector_items_and_others_alike(shop: Shop) -> None:
    rows = behaviour(shop)
    assert len(rows) == 80
    users = {row["user_id"] for row in rows}
    for row in rows:
        assert len(row["embedding"]) == 64 and np.isfinite(row["embedding"]).all()
        assert len(row["next_items"]) == 10 and all(0 <= one["share"] <= 1 for one in row["next_items"])
        assert len(row["similar"]) == 5 and row["user_id"] not in {one["user_id"] for one in row["similar"]}
        assert {one["user_id"] for one in row["similar"]} <= users
        cosines = [one["similarity"] for one in row["similar"]]
        assert cosines == sorted(cosines, reverse=True) and min(cosines) >= -1 and max(cosines) <= 1.0001


def test_the_walk_is_foreseen_and_the_exam_is_told(shop: Shop) -> None:
    note = shop.lake.note("train")["behaviour"]
    assert note["status"] == "trained" and note["chosen"] in note["exam"] and note["curve"]
    assert note["exam"][note["chosen"]]["recall@10"] > note["exam"]["popular"]["recall@10"]


def test_profiles_say_what_comes_next_and_who_is_alike(shop: Shop) -> None:
    for user in shop.examples():
        profile = shop.profile(user)
        jsonschema.validate(profile.document, profile_schema())
        following, alike = profile.trait("next_items"), profile.trait("similar_customers")
        assert following is not None and alike is not None
        version = shop.lake.note("train")["behaviour"]["version"]
        assert following["evidence"]["model"]["version"] == version == profile.document["embedding"]["version"]
        assert following["source"] == "predicted" and following["text"]["zh"]
        assert all(math.isfinite(one) for one in numbers(profile.document))


def test_a_second_training_on_the_same_events_is_the_same_model(shop: Shop, tmp_path: Path) -> None:
    with copied(shop, tmp_path) as again:
        again.train()
        assert again.lake.note("train")["behaviour"]["version"] == shop.lake.note("train")["behaviour"]["version"]


def test_what_is_cited_for_an_item_lowers_it_when_taken_away(shop: Shop) -> None:
    found = load_foresight(shop.folder / "models", check_version(shop.lake.note("train")))
    met = read_items(shop.lake)
    every, _ = next(iter(read_pieces(shop.lake, met)))
    cited = 0
    for user in range(10):
        history = every.take(np.array([user]))
        item = int(found.lists(history, 1)[0][0, 0])
        places, falls = found.because(history, item)
        scores = found.log_scores(history)[0]
        for place, fall in zip(places, falls, strict=True):
            kept = np.delete(np.arange(len(history.item)), place)
            less = Sequences(
                np.array([0, len(kept)]), history.item[kept],
                *(None if part is None else part[kept] for part in (history.ts, history.kind, history.price)),
            )  # fmt: skip
            assert found.log_scores(less)[0, item] == pytest.approx(scores[item] - fall, abs=1e-4)
            assert fall > 0
            cited += 1
    assert cited


def test_where_nothing_is_known_the_popular_come_first(shop: Shop) -> None:
    found = load_foresight(shop.folder / "models", check_version(shop.lake.note("train")))
    popular = np.argsort(-found.parts["popular"].score(from_lists([[]]))[0], kind="stable")
    again = replace(found, chosen="again")
    assert again.lists(from_lists([[]]), 4)[0][0].tolist() == popular[:4].tolist()
    listed, share = again.lists(from_lists([[int(popular[9])]]), 4)
    assert listed[0].tolist() == [popular[9], *popular[:3]]
    assert share[0].tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("make", "settings", "why"),
    [
        (lambda: walkers(3), "", "customers"),
        (lambda: [(*row[:2], "i1", *row[3:]) for row in walkers(40)], "", "two are the least"),
        (lambda: walkers(40), 'size = "off"', "switched off"),
    ],
    ids=["three customers", "one item", "off"],
)
def test_shops_it_cannot_learn_from_say_so_and_go_on(
    make: Callable[[], list[Row]], settings: str, why: str, tmp_path: Path
) -> None:
    with train(tmp_path, make(), settings) as opened:
        note = opened.lake.note("train")["behaviour"]
        assert note["status"] == "skipped" and why in note["why"]["en"] and note["why"]["zh"]
        assert not behaviour(opened)
        opened.profiles()
        profile = opened.profile(opened.examples(1)[0])
        assert profile.trait("next_items") is None and profile.document["embedding"] is None


def test_customers_who_all_do_the_same_are_told_apart_by_nothing(tmp_path: Path) -> None:
    """No map, nobody "most alike"; the rest goes on."""
    rows = [
        (f"o{u}-{k}", f"u{u}", f"i{k}", "C", 1, 5, f"2025-01-0{k + 1} 10:00:00") for u in range(50) for k in range(5)
    ]
    with train(tmp_path, rows) as opened:
        found = behaviour(opened)
        assert len(found) == 50 and not any(row["similar"] for row in found)
        assert np.isfinite([row["embedding"] for row in found]).all()
        assert opened.lake.rows("behaviour.map") == 0
        opened.profiles()
        profile = opened.profile("u0")
        assert profile.trait("next_items") is not None and profile.trait("similar_customers") is None
        assert "behaviour" in opened.report().read_text(encoding="utf-8")


def test_a_customer_without_an_item_is_foreseen_the_popular(tmp_path: Path) -> None:
    """v searched and took nothing: no vector, no list in the profile; asked for, what most took."""
    lines = ["user_id,item_id,behavior,ts"]
    lines += [f"{row[1]},{row[2]},buy,{row[6]}" for row in walkers(60)] + ["v,,visit,2025-03-01 10:00:00"]
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with Shop.init(tmp_path / "shop", [str(tmp_path / "clicks.csv")]) as opened:
        opened.collect()
        opened.clean()
        opened.build()
        opened.train()
        opened.profiles()
        profile = opened.profile("v")
        assert profile.document["embedding"] is None and profile.trait("next_items") is None
        found = opened.foresee("v")
        assert len(found) == 5 and not any(one.because or one.had for one in found)
        assert all(math.isfinite(one.share) for one in found)


@pytest.mark.parametrize("price", ["NaN", "inf", ""])
def test_prices_that_are_none_leave_no_trace_in_a_profile(price: str, tmp_path: Path) -> None:
    rows = [(*row[:5], price, row[6]) for row in walkers(40)]
    with train(tmp_path, rows, "epochs = 1") as opened:
        assert opened.lake.note("train")["behaviour"]["status"] == "trained"
        opened.profiles()
        for user in opened.examples():
            assert all(math.isfinite(one) for one in numbers(opened.profile(user).document))


def test_a_customer_with_a_hundred_thousand_events_is_one_customer(tmp_path: Path) -> None:
    """Prices are missing here and there, as they are in every shop of this file."""
    with train(tmp_path, walkers(40, long=100_000)) as opened:
        assert opened.lake.note("train")["behaviour"]["events"] < 2_000
        assert len(behaviour(opened)) == 40


def test_training_killed_within_the_step_goes_on(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huaxiang.models.behaviour import train as loop

    stopped = copied(shop, tmp_path)
    real = loop.save_checkpoint

    def die(*args: Any) -> None:
        real(*args)
        if args[3].epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", die)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    monkeypatch.setattr(loop, "save_checkpoint", real)
    began: list[int] = []
    close = loop._close_epoch

    def count(network: Any, standing: Any, *rest: Any) -> None:
        began.append(standing.epoch)
        close(network, standing, *rest)

    monkeypatch.setattr(loop, "_close_epoch", count)
    with stopped:
        stopped.train()
        assert began[0] == 2
        assert stopped.lake.note("train")["behaviour"]["version"] == shop.lake.note("train")["behaviour"]["version"]
        assert not (stopped.folder / "models" / HOME / "lesson").exists()


def test_two_processes_train_a_shop_too(tmp_path: Path) -> None:
    with train(tmp_path, walkers(), "processes = 2\nepochs = 2") as opened:
        note = opened.lake.note("train")["behaviour"]
        assert note["status"] == "trained" and len(note["curve"]) == 2
        assert json.dumps(note)


def test_nearest_leaves_the_customer_out() -> None:
    """a and b share one half of their direction, b and c the other, a and c none."""
    vectors = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]], dtype=float) / np.sqrt(2)
    other, cosine = nearest(vectors, ["a", "b", "c"], vectors, ["a", "b", "c"], 2)
    assert (other[0], other[2]) == (["b", "c"], ["b", "a"]) and sorted(other[1]) == ["a", "c"]
    assert cosine == [[0.5, 0.0], [0.5, 0.5], [0.5, 0.0]]
    far = vectors + 20 * np.ones(4)  # all point much the same way: only what sets them apart tells who is alike
    middle = far.mean(axis=0)
    apart = centred(far, middle)
    assert np.linalg.norm(apart, axis=1) == pytest.approx(1)
    again, likeness = nearest(apart, ["a", "b", "c"], apart, ["a", "b", "c"], 2)
    assert (again[0], again[2]) == (["b", "c"], ["b", "a"]) and likeness[0][1] < 0
    assert nearest(vectors[:1], ["a"], vectors[:1], ["a"], 2) == ([[]], [[]])
    same = centred(np.ones((3, 4)), np.ones(4))
    assert nearest(same, ["a", "b", "c"], same, ["a", "b", "c"], 2) == ([[], [], []], [[], [], []])


def test_sequences_are_joined_one_after_another() -> None:
    found = joined([from_lists([[1, 2], [3]]), from_lists([[4]])])
    assert found.starts.tolist() == [0, 2, 3, 4] and found.item.tolist() == [1, 2, 3, 4]
    assert len(joined([])) == 0


def test_what_was_taken_long_ago_was_had(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last event is read; the claim is of the whole history."""
    from huaxiang.models import why

    monkeypatch.setattr(why, "LAST", 1)
    taken = {str(row[2]) for row in walkers() if row[1] == "u0"}
    found = shop.foresee("u0", count=30)
    assert len(taken) > 1
    assert {one.item_id for one in found if one.had} == taken


def test_why_there_is_no_model_is_said_in_the_language_of_the_reader() -> None:
    note = {"behaviour": {"status": "skipped", "why": say("models.behaviour.why.few", need=20)}}
    with pytest.raises(ModelError) as raised:
        check_version(note)
    assert "fewer than 20" in raised.value.say("en") and "不足 20 位" in raised.value.say("zh")
    assert "fewer" not in raised.value.say("zh")
    with pytest.raises(ModelError):
        check_version({})


def test_before_the_journey_foresee_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("order_id,user_id,item_id,quantity,price,order_time\n1,u0,i1,1,5,2025-01-01\n")
    with (
        Shop.init(tmp_path / "shop", [str(tmp_path / "orders.csv")]) as opened,
        pytest.raises(ModelError, match="huaxiang run"),
    ):
        opened.foresee("u0")
