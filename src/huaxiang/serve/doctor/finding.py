"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from huaxiang.errors import HuaxiangError
from huaxiang.words import Lang, Words

Status = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Finding:
    """check: which; text: of words/ (doctor.TEXT.what and .mend); error: said instead of a text"""

    check: str
    status: Status
    text: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    error: HuaxiangError | None = None

    def what(self, lang: Lang) -> str:
        return self.error.what(lang) if self.error else Words(lang)(f"doctor.{self.text}.what", **self.values)

    def mend(self, lang: Lang) -> str:
        """What to do ("": nothing)."""
        if self.error:
            return self.error.mend(lang)
        words = Words(lang)
        return words(f"doctor.{self.text}.mend", **self.values) if words.has(f"doctor.{self.text}.mend") else ""

    def to_dict(self, lang: Lang) -> dict[str, str]:
        return {"check": self.check, "status": self.status, "what": self.what(lang), "mend": self.mend(lang)}


def fine(check: str, text: str, **values: Any) -> Finding:
    return Finding(check, "ok", text, values)


def warn(check: str, text: str, **values: Any) -> Finding:
    return Finding(check, "warn", text, values)


def bad(check: str, text: str, **values: Any) -> Finding:
    return Finding(check, "bad", text, values)


def told(check: str, error: HuaxiangError, status: Status = "bad") -> Finding:
    return Finding(check, status, error=error)
