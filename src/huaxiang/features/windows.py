"""Durations ("30d", "12h") and windows.

A window is made of whole local days: with as-of the local midnight T, "30d" is the 30 local days before T, T excluded.
So a batch build and a live state that keeps one tile a day mean the same thing by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from huaxiang.errors import DefinitionError

AS_OF = ":as_of"  # stands in the compiled SQL where the date goes
_HOURS = {"h": 1.0, "d": 24.0, "w": 168.0}
_LONGEST_DAYS = 36_500


def parse_hours(text: str, *, name: str) -> float:
    """Hours of a duration such as 30d, 12h or 2w; raises DefinitionError naming the definition `name`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", text)
    if not found or float(found[1]) <= 0:
        raise DefinitionError("features.duration", name=name, value=text)
    return float(found[1]) * _HOURS[found[2]]


@dataclass(frozen=True)
class Window:
    """The `days` local days that end `shift` days before as-of; days = 0: all history."""

    days: int = 0
    shift: int = 0

    @classmethod
    def parse(cls, text: str, *, name: str) -> Window:
        """The window of "30d", "2w" or "" (all history); raises DefinitionError where it is not whole days."""
        if not text:
            return cls()
        hours = parse_hours(text, name=name)
        if hours % 24 or hours > _LONGEST_DAYS * 24:
            raise DefinitionError("features.window", name=name, value=text, longest=_LONGEST_DAYS)
        return cls(int(hours // 24))

    @property
    def before(self) -> Window:
        """The window of the same length just before this one."""
        return Window(self.days, self.shift + self.days)

    def sql(self, day: str = "day") -> str:
        """The condition that the date column `day` lies in the window ("" where every day before as-of does)."""
        parts = [f"{day} >= {AS_OF} - {self.days + self.shift}"] if self.days else []
        parts += [f"{day} < {AS_OF} - {self.shift}"] if self.shift else []
        return " AND ".join(parts)
