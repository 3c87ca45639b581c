"""Pre-training sees nothing of what it is asked, nor of what came after the day it stands for."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huaxiang import Shop
from huaxiang.models.behaviour.source import Stored
from huaxiang.models.foresight import load_foresight
from huaxiang.models.next_item.lake import read_items
from huaxiang.models.next_item.sequences import from_lists
from huaxiang.models.past import train_past
from huaxiang.models.pretrain import pretrain, train_on
from huaxiang.progress import SILENT
from huaxiang.settings import Settings

from .test_compare import make_shop
from .test_pretrain import walkers


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Everybody's last item is one that nobody else took."""
    rows = walkers()
    begin = datetime(2025, 1, 1)
    every = {str(row[1]) for row in rows}
    rows = [(*row[:5], 5, row[6]) for row in rows]
    for user in sorted(every):
        when = begin + timedelta(days=400, minutes=int(user[1:]))
        rows.append((f"last-{user}", user, f"own-{user}", "C9", 1, 5, str(when)))
    return make_shop(tmp_path_factory.mktemp("leaks"), rows)


def test_what_is_asked_of_customers_held_out_is_learned_by_no_model(shop: Shop, tmp_path: Path) -> None:
    with shop.lake.step("train") as step:
        met = read_items(step)
        settings = _brief(shop)
        _, _, held, simple, _ = train_on(step, settings, met, tmp_path, SILENT)
    own = np.array([name.startswith("own-") for name in met.items.ids])
    asked = np.concatenate([held.stop.target, held.judge.target])
    assert len(asked) == len(set(asked.tolist())) >= 10 and own[asked].all()
    assert not np.isin(asked, np.concatenate([held.stop.history.item, held.judge.history.item])).any()
    wanted = own.astype(int)
    wanted[asked] = 0
    taken = Stored(tmp_path / "sequences.parquet").taken(len(own))
    assert taken[own].tolist() == wanted[own].tolist()  # the last items of all others are learned from
    for name in ("popular", "neighbours", "again"):
        said = simple[name].score(from_lists([np.flatnonzero(~own)[:20].tolist()]))
        assert not said[0, asked].any(), name
    assert simple["popular"].score(from_lists([[]]))[0, wanted == 1].all()


def _brief(shop: Shop) -> Settings:
    behaviour = shop.settings.behaviour.model_copy(update={"epochs": 2})
    return shop.settings.model_copy(update={"behaviour": behaviour})


class UndoneError(Exception):
    """Leaves the lake as it was."""


BEFORE = date(2025, 2, 15)  # the first validation date


def _past(shop: Shop, folder: Path, changed: str, *, late: bool = True) -> str:
    """The version of the past model where the events that are `changed` (SQL) were of other items; late: whether events of every fifth
    day were known from BEFORE on only."""
    said: dict[str, str] = {}
    with pytest.raises(UndoneError), shop.lake.step("train") as step:
        events = shop.engine.sql(step.table("ready.events"))
        known = f"CASE WHEN {late} AND day(ts) % 5 = 0 THEN greatest(known_day, DATE '{BEFORE}') ELSE known_day END"
        events = shop.engine.sql(shop.engine.keep(f"SELECT * REPLACE ({known} AS known_day) FROM ({events})"))
        other = f"CASE WHEN {changed} THEN (SELECT max(item_no) FROM ({events})) - item_no ELSE item_no END"
        step.replace("ready.events", f"SELECT * REPLACE ({other} AS item_no) FROM ({events})")
        dates = {"train": BEFORE - timedelta(days=9), "valid": BEFORE, "test": BEFORE + timedelta(days=9)}
        labels = [
            f"SELECT TIMESTAMP '{day}' AS as_of, '{split}' AS split, 'o' AS outcome" for split, day in dates.items()
        ]
        step.replace("labels", " UNION ALL ".join(labels))
        step.note["behaviour"] = {}
        assert train_past(step, _brief(shop), folder=folder) is not None
        said |= step.note["behaviour"]["past"]
        raise UndoneError
    assert said["before"] == str(BEFORE)
    return said["version"]


def test_what_happened_or_was_known_later_changes_nothing_of_the_past_model(tmp_path: Path) -> None:
    with make_shop(tmp_path, [(*row[:5], 5, row[6]) for row in walkers()]) as opened:
        models = tmp_path / "models"
        plain = _past(opened, models, "false")
        for later in (f"day >= DATE '{BEFORE}'", f"known_day >= DATE '{BEFORE}'"):
            assert _past(opened, models, later) == plain, later
        earlier = BEFORE - timedelta(days=14)
        assert _past(opened, models, f"known_day < DATE '{BEFORE}' AND day >= DATE '{earlier}'") != plain
        assert _past(opened, models, "false", late=False) != plain


def _labelled(shop: Shop, folder: Path, labels: str) -> tuple[str, dict[str, Any]]:
    """(version of what gives the outcomes their vectors, the note of the training) where the shop has these `labels` (SQL)."""
    with pytest.raises(UndoneError), shop.lake.step("train") as step:
        step.replace("labels", labels)
        version = pretrain(step, _brief(shop), folder=folder)
        past = train_past(step, _brief(shop), folder=folder)
        found = past.version if past is not None else "", dict(step.note["behaviour"])
        assert found[1]["version"] == version
        raise UndoneError
    return found


def test_declared_attributes_alone_read_the_vectors_of_the_model_of_today(shop: Shop, tmp_path: Path) -> None:
    declared = " UNION ALL ".join(
        f"SELECT DATE '2026-02-06' AS as_of, '{split}' AS split, 'gender' AS outcome"
        for split in ("train", "valid", "test")
    )
    version, note = _labelled(shop, tmp_path, declared)
    assert version == note["version"] and "past" not in note  # nobody may take it for a model of before some day
    for day, split, word in (("2025-01-01", "valid", "three events"), ("2025-03-01", "test", "validation date")):
        version, note = _labelled(
            shop, tmp_path, f"SELECT DATE '{day}' AS as_of, '{split}' AS split, 'churn' AS outcome UNION ALL {declared}"
        )
        assert version == "" and word in note["past_why"]["en"] and note["past_why"]["zh"]


def test_items_that_training_never_met_get_an_answer(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(UndoneError), shop.lake.step("train") as step:
        found = load_foresight(tmp_path, pretrain(step, _brief(shop), folder=tmp_path))
        raise UndoneError
    new = np.flatnonzero(~found.model.network.met[:-1].numpy())
    assert len(new) >= 10  # the last items of those held out
    histories = from_lists([[], [int(new[0])], [3, int(new[1]), 4]])
    for chosen in (*found.parts, "fusion"):
        listed, share = replace(found, chosen=chosen).lists(histories, 5)
        assert listed.shape == (3, 5) and np.isfinite(share).all() and (share >= 0).all()
        assert all(len(set(row.tolist())) == 5 for row in listed)
    assert np.isfinite(found.model.user_vectors(histories)).all()


def test_customers_count_with_the_event_that_is_held_out(tmp_path: Path) -> None:
    """Twenty-two with three events each are enough, though of those held out two are left to learn from; nineteen are not."""
    for users, status in ((22, "trained"), (19, "skipped")):
        place = tmp_path / str(users)
        place.mkdir()
        rows = [row for u in range(users) for row in walkers(80) if row[1] == f"u{u}"]
        first = [row for at, row in enumerate(rows) if at < 3 or rows[at - 3][1] != row[1]]
        with make_shop(place, first) as opened, opened.lake.step("train") as step:
            pretrain(step, _brief(opened), folder=place)
            assert step.note["behaviour"]["status"] == status
