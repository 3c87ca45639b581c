"""Text broken into lines by the cells it takes, where Chinese may break at any character."""

from __future__ import annotations

import re

from rich.cells import cell_len

# A Latin word, or one wide character with the punctuation that may not start a line.
_PIECE = re.compile(r"[“（‘《]?(?:[^\s\u2e80-\uffef“”‘’]+|[\u2e80-\uffef])[，。、；：？！）》”’]*|\s+|.", re.DOTALL)


def wrap_cells(text: str, width: int) -> str:
    """`text` with line breaks so that no line is wider than `width` cells (a single piece may be)."""
    lines = [""]
    for piece in _PIECE.findall(text):
        if cell_len(lines[-1]) + cell_len(piece.rstrip()) > width and lines[-1].strip():
            lines[-1] = lines[-1].rstrip()
            lines.append("")
            piece = piece.lstrip()
        lines[-1] += piece
    return "\n".join(lines).rstrip()
