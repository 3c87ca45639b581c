"""The catalogue: both languages, always."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from huaxiang.errors import HuaxiangError
from huaxiang.features.standard import standard_features
from huaxiang.words import Words, catalogue, fill

SOURCE = Path(__file__).resolve().parent.parent / "src" / "huaxiang"


def test_every_text_stands_in_both_languages() -> None:
    lacking = [key for key, texts in catalogue().items() if not all(texts[lang].strip() for lang in ("en", "zh"))]
    assert lacking == []


def test_both_languages_have_the_same_places() -> None:
    def places(text: str) -> set[str]:
        return {re.split(r"[.\[!:|]", name)[0] for _, name, _, _ in string.Formatter().parse(text) if name}

    differing = {key: texts for key, texts in catalogue().items() if places(texts["en"]) != places(texts["zh"])}
    assert differing == {}


def test_every_error_raised_has_its_texts() -> None:
    kinds = {kind.__name__ for kind in HuaxiangError.__subclasses__()} | {"HuaxiangError"}
    lacking = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args
            )
            if named and isinstance(node.args[0], ast.Constant):
                for part in ("what", "mend"):
                    key = f"errors.{node.args[0].value}.{part}"
                    if key not in catalogue():
                        lacking.append(f"{path.name}: {key}")
    assert lacking == []


def test_unknown_text_names_the_nearest() -> None:
    with pytest.raises(KeyError, match=r"cli\.about"):
        Words("en")("cli.abuot")


def test_every_standard_feature_has_a_name_to_show() -> None:
    assert [feature.name for feature in standard_features() if not Words("en").has(f"traits.{feature.name}")] == []


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 profile"), ("1", "1 profile"), (0, "0 profiles"), ("1,000", "1,000 profiles")]
)
def test_a_count_agrees_with_its_noun(count: object, said: str) -> None:
    assert fill("{users|profile|profiles}", {"users": count}) == said
