"""Columns set apart by runs of spaces, as in CDNOW's files, turned into columns set apart by one."""

from __future__ import annotations

import re

_RUN = re.compile(r"[ \t]+")
_AT_EDGE = re.compile(r" ?(\r?\n) ?")


class Squeezer:
    """Call it with a text piece by piece: runs of spaces become one, and those at the edges of a line go."""

    def __init__(self) -> None:
        self._pending = ""
        self._at_start = True

    def __call__(self, text: str) -> str:
        """The squeezed piece; spaces and a carriage return at its end wait for the next."""
        text = self._pending + text
        kept = text.rstrip(" \t\r")
        self._pending = text[len(kept) :]
        squeezed = _AT_EDGE.sub(r"\1", _RUN.sub(" ", kept))
        if self._at_start:
            squeezed = squeezed.lstrip(" ")
        if squeezed:
            self._at_start = squeezed.endswith("\n")
        return squeezed
