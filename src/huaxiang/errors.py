"""What can go wrong, one class per thing a caller would do differently.

    HuaxiangError
    ├── SettingsError    huaxiang.toml (or a HUAXIANG_* name) says something unknown or impossible
    ├── SourceError      a file or database to collect from cannot be read as it is described
    ├── TableError       a table breaks the contract of `tables.py`
    ├── DefinitionError  a feature, outcome or filter is not well declared
    ├── ModelError       a model cannot be trained or used on what it was given
    ├── ShopError        the shop folder is missing, busy, damaged, or a step was called too early
    ├── GuardError       a risk, a case or a rule that is not there; a shop with nothing to guard
    ├── StoreError       the live store is full, busy, away or damaged
    ├── TrustError       the key or the vault is missing, open to others, or damaged
    └── UnknownUserError no such customer in this shop

Every error names a text in words/ ([errors.KEY]): what happened (with the value), and the mend. `str(error)` is English;
`error.say("zh")` Chinese. Personal data never enters one.
"""

from __future__ import annotations

from typing import Any

from huaxiang.words import Lang, Words


class HuaxiangError(Exception):
    """Raised on purpose. `key` finds `errors.KEY.what` and `errors.KEY.mend` in the catalogue; `values` fill their places: one that is
    a text in every language (en, zh) in that of the reader."""

    def __init__(self, key: str, /, **values: Any) -> None:
        self.key = key
        self.values = values
        super().__init__(self.say("en"))

    def what(self, lang: Lang = "en") -> str:
        return Words(lang)(f"errors.{self.key}.what", **self._values(lang))

    def mend(self, lang: Lang = "en") -> str:
        return Words(lang)(f"errors.{self.key}.mend", **self._values(lang))

    def _values(self, lang: Lang) -> dict[str, Any]:
        return {name: one.get(lang, one) if isinstance(one, dict) else one for name, one in self.values.items()}

    def say(self, lang: Lang = "en") -> str:
        return f"{self.what(lang)}\n→ {self.mend(lang)}"


class SettingsError(HuaxiangError):
    pass


class SourceError(HuaxiangError):
    pass


class TableError(HuaxiangError):
    pass


class DefinitionError(HuaxiangError):
    pass


class ModelError(HuaxiangError):
    pass


class ShopError(HuaxiangError):
    pass


class GuardError(HuaxiangError):
    pass


class StoreError(HuaxiangError):
    pass


class TrustError(HuaxiangError):
    pass


class UnknownUserError(HuaxiangError):
    pass
