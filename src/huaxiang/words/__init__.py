"""Every text a person reads, in English and Chinese: one catalogue, a TOML file a room beside this module.

    [lifecycle.active]
    en = "active"
    zh = "活跃"

`Words("zh")("lifecycle.active")` gives 活跃. A text may hold `{name}` places, filled from keyword arguments; `{users|customer|customers}`
is the number and its noun: "1 customer", "2 customers".
"""

from __future__ import annotations

import difflib
import locale
import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")
_COUNTED = re.compile(r"\{(\w+)\|([^|{}]+)\|([^|{}]+)\}")


class Words:
    """The catalogue in one language; call it with a key."""

    def __init__(self, lang: Lang) -> None:
        self.lang: Lang = lang

    def __call__(self, key: str, /, **values: Any) -> str:
        """The text of `key` with its places filled; raises KeyError (with the nearest keys) for an unknown key."""
        texts = catalogue()
        if key not in texts:
            near = difflib.get_close_matches(key, texts, n=3)
            raise KeyError(f"no text {key!r} in words/*.toml; near: {near}")
        return fill(texts[key][self.lang], values)

    def has(self, key: str) -> bool:
        return key in catalogue()

    def either(self, key: str, otherwise: str) -> str:
        """The text of `key`, or `otherwise` where the catalogue has none (names a shop made itself)."""
        return catalogue()[key][self.lang] if key in catalogue() else otherwise


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """key -> {"en": text, "zh": text} from every TOML file of this folder."""
    texts: dict[str, dict[str, str]] = {}
    for entry in sorted(files(__name__).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            _flatten(tomllib.loads(entry.read_text(encoding="utf-8")), "", texts)
    return texts


def fill(text: str, values: Mapping[str, Any]) -> str:
    """`text` with its places filled; without values it stays as it is."""
    if not values:
        return text
    if "|" in text:
        text = _COUNTED.sub(lambda found: f"{{{found[1]}}} {found[2 if str(values[found[1]]) == '1' else 3]}", text)
    return text.format(**values)


def _flatten(node: dict[str, Any], path: str, texts: dict[str, dict[str, str]]) -> None:
    if set(node) & set(LANGS):
        if path in texts:
            raise ValueError(f"two texts named {path!r} in words/*.toml")
        texts[path] = {lang: str(node.get(lang, "")) for lang in LANGS}
        return
    for name, below in node.items():
        _flatten(below, f"{path}.{name}" if path else name, texts)


def guess_lang() -> Lang:
    """The language of this terminal: Chinese for a zh locale, English for every other."""
    for name in ("HUAXIANG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if os.environ.get(name):
            return "zh" if os.environ[name].lower().startswith(("zh", "chinese")) else "en"
    return "zh" if (locale.getlocale()[0] or "").lower().startswith(("zh", "chinese")) else "en"
