"""huaxiang.toml: unknown names and impossible values are named, with the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from huaxiang.errors import SettingsError
from huaxiang.settings import load_settings

SOURCE = '[[collect]]\nname = "orders"\nfrom = "a.csv"\n[[collect.to]]\ntable = "events"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "huaxiang.toml").write_text(text, encoding="utf-8")
    return folder / "huaxiang.toml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[shop]\nnme = "x"', "did you mean 'name'"),
        ("[shop]\nzzzzzz = 1", "use one of: name"),
        ("[shp]\nname = 'x'", "did you mean 'shop'"),
        ('[shop]\ntimezone = "Mars/Base"', "no time zone"),
        ("[shop]\nmemory_gb = -1", "shop.memory_gb = -1"),
        ("[shop", "not valid TOML"),
        (SOURCE + '[collect.to.map]\nuser = "u"', "events has no column 'user'"),
        (SOURCE + '[collect.to.map]\nts = { column = "t", fromat = "x" }', "did you mean 'format'"),
        (SOURCE + "[collect.to.map]\nts = { }", "exactly one of column, value or columns"),
        (SOURCE.replace("events", "evnts") + "map = {}", "no table 'evnts'"),
    ],
    ids=[
        "near name",
        "far name",
        "section",
        "zone",
        "negative",
        "syntax",
        "column",
        "column option",
        "no origin",
        "table",
    ],
)
def test_wrong_setting_is_named_with_its_mend(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_settings(write(tmp_path, text), {})


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[shop]\nmemory_gb = 1\nname = 'x'")
    settings = load_settings(
        path, {"HUAXIANG_SHOP__MEMORY_GB": "3.5", "HUAXIANG_SHOP__NAME": "Tea house", "HUAXIANG_LANG": "zh"}
    )
    assert (settings.shop.memory_gb, settings.shop.name) == (3.5, "Tea house")


def test_missing_file_names_init(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="huaxiang init"):
        load_settings(tmp_path / "huaxiang.toml", {})


def test_variable_that_names_no_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HUAXIANG_FOO names no setting"):
        load_settings(write(tmp_path, "[shop]"), {"HUAXIANG_FOO": "1"})
