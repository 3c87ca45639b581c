"""A list of customers from a file: one id a line, or the column of a CSV file that holds them."""

from __future__ import annotations

import csv
from pathlib import Path

from huaxiang.errors import SourceError

IDS = ("user_id", "userid", "user", "customer_id", "member_id", "id", "用户id", "用户编号", "会员编号", "顾客编号")


def read_list(path: Path) -> list[str]:
    """The ids, as they are written (none of an empty file); raises SourceError where no column holds them, or there is no such text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SourceError("market.no_list", path=path) from error
    except UnicodeDecodeError:
        try:
            text = path.read_text(encoding="gb18030")
        except UnicodeDecodeError as error:
            raise SourceError("market.list_text", path=path) from error
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    if not rows:
        return []
    header = [cell.strip().lower() for cell in rows[0]]
    named = [place for place, cell in enumerate(header) if cell.replace(" ", "_") in IDS]
    if not named and max(len(row) for row in rows) > 1:
        raise SourceError("market.list_column", path=path, columns=", ".join(header), known=", ".join(IDS[:4]))
    place, first = (named[0], 1) if named else (0, 0)
    return [row[place].strip() for row in rows[first:] if len(row) > place and row[place].strip()]
