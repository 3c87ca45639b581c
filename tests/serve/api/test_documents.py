"""A row as a document: what is left out, who says it, how sure it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from huaxiang.profile.traits import BY_NAME, DECLARED
from huaxiang.serve.api.documents import Catalogue
from huaxiang.serve.api.roles import GROUPS, group_of, groups_of
from huaxiang.serve.profiles import BatchProfiles
from huaxiang.shop import Shop

ALL = frozenset(GROUPS)


@pytest.fixture(scope="module")
def known(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("documents") / "shop"
    shutil.copytree(small_shop, folder)
    with Shop.open(folder) as shop:
        profiles = BatchProfiles(shop)
        row = dict(profiles.one(shop.pseudonym("1007")) or {})
        profiles.close()
        third = shop.settings.collect[1].model_copy(update={"third_party": True})
        changed = shop.settings.model_copy(update={"collect": [shop.settings.collect[0], third]})
        return row, Catalogue.of(shop.lake, shop.settings), Catalogue.of(shop.lake, changed)


def test_what_a_third_party_says_is_told_as_such(known: Any) -> None:
    row, _, catalogue = known
    city = catalogue.document(row, ALL)["sections"]["basic"]["city"]
    assert (city["source"], city["confidence"]) == ("third_party", catalogue.third_party_confidence)


def test_what_was_filled_in_or_is_unknown_is_left_out(known: Any) -> None:
    row, catalogue, _ = known
    basic = catalogue.document(row | {"filled": ["city"], "gender": None}, ALL)["sections"]["basic"]
    assert "city" not in basic and "gender" not in basic and "birth_year" in basic


def test_attributes_of_the_shops_own_stand_among_the_declared(known: Any) -> None:
    row, catalogue, _ = known
    extra = json.dumps({"shoe_size": 42, "city": "x", "nothing": None})
    document = catalogue.document(row | {"extra": extra}, ALL)["sections"]["basic"]
    assert document["shoe_size"] == {"value": 42, "unit": "", "source": "declared", "confidence": 1.0, "expires": None}
    assert document["city"]["value"] == "Lyon" and "nothing" not in document
    assert "shoe_size" not in catalogue.document(row | {"extra": extra}, groups_of(["marketing"]))["sections"]["basic"]


def test_who_never_bought_has_no_figures_of_buying(known: Any) -> None:
    row, catalogue, _ = known
    names = catalogue.document(row | {"orders_total": 0.0}, ALL)["sections"]["behaviour"]
    assert not {"orders_90d", "spend_90d", "gap_days_mean"} & set(names)


def test_a_live_row_expires_from_its_own_day(known: Any) -> None:
    row, catalogue, _ = known
    trait = catalogue.document(row | {"as_of": "2026-01-01T00:00:00Z"}, ALL)["sections"]["behaviour"]["orders_30d"]
    assert trait["expires"] == "2026-01-31T00:00:00Z"


def test_a_row_needs_no_more_than_its_id_and_day(known: Any) -> None:
    _, catalogue, _ = known
    document = catalogue.document({"user_id": "u", "as_of": "2026-01-01T00:00:00Z"}, ALL)
    assert {name for name, part in document["sections"].items() if part} == set()
    assert document["updated_at"] is None


def test_every_trait_has_a_group_and_guesses_are_none_of_marketing() -> None:
    assert {group_of(name, {}) for name in (*BY_NAME, *DECLARED)} <= ALL
    assert group_of("gender_predicted", {"gender_predicted": "class"}) == "guesses"
    assert group_of("gender", {"gender_predicted": "class"}) == "declared"
    assert "guesses" not in groups_of(["marketing", "service", "admin", "personal"])
