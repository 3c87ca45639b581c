"""What the values of a column are: numbers, money, times and their format, e-mails, codes, words."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from huaxiang.collect.guess_names import roles_of
from huaxiang.collect.values import OTHER_TIMES

Kind = Literal[
    "empty",
    "int",
    "float",
    "money",
    "comma",
    "epoch",
    "time",
    "date",
    "bool",
    "email",
    "phone",
    "id_number",
    "list",
    "category",
    "code",
    "text",
]

NUMBERS = ("int", "float", "money", "comma")
TIMES = ("epoch", "time", "date")
# How sources write "not known"; -1 and 0 are judged beside the column's other values.
EMPTY_WORDS = frozenset(
    (
        "null",
        "none",
        "nan",
        "n/a",
        "na",
        "\\n",
        "-",
        "--",
        "?",
        "unknown",
        "(not set)",
        "未知",
        "不详",
        "未填写",
        "保密",
        "无",
    )
)

_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?")
_MONEY = re.compile(r"-?\s*[¥￥$€£]\s*-?\d[\d,]*(\.\d+)?|-?\d{1,3}(,\d{3})+(\.\d+)?|-?\d+(\.\d+)?\s*元")
_COMMA = re.compile(r"-?[€£]?\s*(\d{1,3}(\.\d{3})+|\d+),\d{1,2}\s*€?|-?\d{1,3}(\.\d{3}){2,}")
_EMAIL = re.compile(r"[^@\s,;]+@[^@\s,;]+\.[A-Za-z]{2,}")
_PHONE = re.compile(
    r"(\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}|\+\d{1,3}[ -]?\(?\d[\d ()-]{6,}\d|\(?\d{3}\)?[ -]\d{3}-\d{4}"
)
_ID_NUMBER = re.compile(r"[1-9]\d{5}(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])\d{3}[\dXx]")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?")
_OFFSET = re.compile(r"\d\s*(Z|UTC|[+-]\d{2}:?\d{2})$")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_COMPACT = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_BOOLS = frozenset(("true", "false", "yes", "no", "y", "n", "t", "f", "是", "否"))
_EPOCHS = {10: "s", 13: "ms", 16: "us", 19: "ns"}
_EARLY = re.compile(r"[6-9]\d{8}(\.0*)?")  # seconds of 1990 to 2001; many ids look so too, so the name must say time
_TIMELIKE = re.compile(r"\d{1,4}[-/.年 ]\d{1,2}[-/.月 ]\d|\d{1,2}[- ][A-Za-z]{3}[- ]\d|[A-Za-z]{3} \d{1,2}, \d|\d{14}$")
_FORMATS = tuple(
    f"{date}{time}"
    for date in (
        "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d",
        "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%m/%d/%y", "%d/%m/%y", "%Y%m%d", "%d.%m.%y",
    )
    for time in ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f", "T%H:%M:%S", "%H%M%S", " %H时%M分%S秒", " %H:%M:%S %z", " %H:%M %z")
)  # fmt: skip
_NUMBER_TESTS: tuple[tuple[Kind, Callable[[str], object]], ...] = (
    ("int", _INT.fullmatch),
    ("float", _FLOAT.fullmatch),
    ("comma", lambda cell: _COMMA.fullmatch(cell) or _FLOAT.fullmatch(cell)),
    ("money", lambda cell: _MONEY.fullmatch(cell) or _FLOAT.fullmatch(cell)),
)
_DAY_FIRST = {"%m/%d/%Y": "%d/%m/%Y", "%m-%d-%Y": "%d-%m-%Y", "%m/%d/%y": "%d/%m/%y"}


@dataclass(frozen=True)
class ColumnLook:
    """What a column shows. `values` are the sampled cells, row by row; shares are of the sampled rows."""

    name: str
    kind: Kind
    values: tuple[str | None, ...]
    top: tuple[tuple[str, int], ...] = ()  # the most frequent values
    distinct: int = 0
    filled: int = 0  # rows with a value
    empty_share: float = 0.0
    misfit_share: float = 0.0  # of the filled rows, those that are not of `kind`
    format: str | None = None
    also: tuple[str, ...] = ()  # other formats of the same order of day and month that some cells have
    unit: Literal["s", "ms", "us", "ns"] | None = None
    offset: bool = False  # times carry their own zone
    day_or_month: bool = False  # the order of day and month was guessed
    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> set[str]:
        """The distinct values among the most frequent, as written."""
        return {value for value, _ in self.top}

    @property
    def is_number(self) -> bool:
        return self.kind in NUMBERS

    @property
    def is_time(self) -> bool:
        return self.kind in TIMES


def look_at_column(name: str, values: Sequence[str | None]) -> ColumnLook:
    """What the sampled cells of column `name` are."""
    cells = tuple(value.strip() or None if value is not None else None for value in values)
    counts = Counter(cell for cell in cells if cell is not None)
    known = Counter({cell: count for cell, count in counts.items() if cell.lower() not in EMPTY_WORDS})
    filled = known.total()
    base = ColumnLook(
        name,
        "empty",
        cells,
        top=tuple(counts.most_common(60)),
        distinct=len(known),
        filled=filled,
        empty_share=1 - filled / max(len(cells), 1),
    )
    return _with_kind(base, known) if filled else base


def _with_kind(base: ColumnLook, known: Counter[str]) -> ColumnLook:
    judged = known if len(known) <= 3000 else Counter(dict(list(known.items())[:: len(known) // 3000 + 1]))
    total = judged.total()

    def share(test: Callable[[str], object]) -> float:
        return sum(count for cell, count in judged.items() if test(cell)) / total

    def made(kind: Kind, fits: float = 1.0, **more: object) -> ColumnLook:
        return ColumnLook(**{**base.__dict__, "kind": kind, "misfit_share": 1 - fits, **more})

    if share(lambda cell: cell.lower() in _BOOLS) == 1:
        return made("bool")
    if share(_ID_NUMBER.fullmatch) >= 0.9:
        return made("id_number")
    if share(_PHONE.fullmatch) >= 0.9:
        return made("phone")
    if share(_EMAIL.fullmatch) >= 0.8:
        return made("email")
    if share(lambda cell: cell[0] == "[" and cell[-1] == "]") >= 0.9:
        return made("list")
    time = _look_at_time(base, judged, share)
    if time is not None:
        kind, fits, more = time
        return made(kind, fits, **more)
    found = _look_at_numbers(share)
    if found is not None:
        numbers = [number for number in map(to_number, judged) if number is not None] or [0.0]
        return made(*found, low=min(numbers), high=max(numbers))
    if base.distinct <= 50 and base.distinct <= max(2, base.filled * 0.2):
        return made("category")
    spaced = share(lambda cell: " " in cell or len(cell) > 40 or any("\u4e00" <= letter <= "\u9fff" for letter in cell))
    return made("text" if spaced > 0.3 else "code")


def _look_at_numbers(share: Callable[[Callable[[str], object]], float]) -> tuple[Kind, float] | None:
    """The first way of writing numbers that nearly all cells have, plain ones before money; plain ones also where most have it."""
    fits = {kind: share(test) for kind, test in _NUMBER_TESTS}
    kind = next((kind for kind, part in fits.items() if part >= 0.9), None)
    if kind is None and fits["float"] >= 0.6:
        kind = "float"
    return None if kind is None else (kind, fits[kind])


def _look_at_time(
    base: ColumnLook, judged: Counter[str], share: Callable[[Callable[[str], object]], float]
) -> tuple[Kind, float, dict[str, object]] | None:
    """("time" | "date" | "epoch", share that fits, what else is known of it), or None."""
    fits = share(_ISO.fullmatch)
    if fits >= 0.8:
        return "time", fits, {"offset": share(_OFFSET.search) > 0}
    fits = share(_ISO_DATE.fullmatch)
    if fits >= 0.8:
        return "date", fits, {}
    for length, unit in _EPOCHS.items():
        fits = share(partial(_is_epoch, length=length))
        if fits >= 0.9:
            return "epoch", fits, {"unit": unit}
    fits = share(_COMPACT.fullmatch)
    if fits >= 0.95:
        return "date", fits, {"format": "%Y%m%d"}
    if re.search(r"time|date|时间", base.name.lower()) and share(_EARLY.fullmatch) >= 0.9:
        return "epoch", share(_EARLY.fullmatch), {"unit": "s"}
    some = list(judged)[:: max(1, len(judged) // 200)]
    if share(_TIMELIKE.match) < 0.8:
        return _look_at_mixed_times(base.name, some)
    best, hits = max(((form, sum(_parses(cell, form) for cell in some)) for form in _FORMATS), key=lambda pair: pair[1])
    if hits < 0.8 * len(some):
        return _look_at_mixed_times(base.name, some)
    kind: Kind = "time" if "%H" in best or "%I" in best else "date"
    date = re.split(r"[T ]?%[HI]", best)[0]
    alike = [form for form in _FORMATS if form != best and re.split(r"[T ]?%[HI]", form)[0] == date]
    left = [cell for cell in some if not _parses(cell, best)]
    also = tuple(form for form in alike if any(_parses(cell, form) for cell in left))
    more: dict[str, object] = {"format": best, "offset": "%z" in best, "also": also}
    for month_first, day_first in _DAY_FIRST.items():
        if best.startswith(month_first):
            other = best.replace(month_first, day_first)
            if sum(_parses(cell, other) for cell in some) == hits:
                more.update(format=_smoother(base.values, best, other), day_or_month=True)
    if more.get("day_or_month"):
        also = tuple(form.replace(date, str(more["format"])[: len(date)], 1) for form in also)
        also = more["also"] = tuple(form for form in also if any(_parses(cell, form) for cell in left))
    found = hits + sum(any(_parses(cell, form) for form in also) for cell in left)
    return kind, found / len(some), more


def _look_at_mixed_times(name: str, cells: Sequence[str]) -> tuple[Kind, float, dict[str, object]] | None:
    """A column named as a time whose cells are written in several ways, most of which collecting reads without a format."""
    if not {"ts", "registered_at", "since", "received_at"} & roles_of(name).keys():
        return None
    read = sum(
        bool(_ISO.fullmatch(cell) or _ISO_DATE.fullmatch(cell))
        or any(_is_epoch(cell, length) for length in _EPOCHS)
        or any(_parses(cell, form) for form in OTHER_TIMES)
        for cell in cells
    )
    return ("time", read / len(cells), {"offset": True}) if read >= 0.6 * len(cells) else None


def _is_epoch(cell: str, length: int) -> bool:
    whole = cell.partition(".")[0]
    return (
        len(whole) == length
        and whole.isdecimal()
        and 631152000 <= int(whole[:10]) <= 2208988800
        and bool(_FLOAT.fullmatch(cell))
    )


def _parses(cell: str, form: str) -> bool:
    try:
        year = datetime.strptime(cell, form).year
    except ValueError:
        return False
    return 1900 <= year <= 2100


def _smoother(values: Sequence[str | None], one: str, other: str) -> str:
    """Of two formats, the one under which the file's rows go backwards in time less often."""

    def backwards(form: str) -> int:
        times = [datetime.strptime(cell, form) for cell in values[:3000] if cell and _parses(cell, form)]
        return sum(later < earlier for earlier, later in itertools.pairwise(times))

    return other if backwards(other) < backwards(one) else one


def to_number(cell: str) -> float | None:
    """The number a cell writes, with money signs and grouping commas; None where it is none."""
    text = cell.strip("¥￥$€£元 ")
    if _COMMA.fullmatch(text) and not _FLOAT.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def to_time(cell: str, column: ColumnLook) -> datetime | None:
    """The moment a cell of a time column writes, without its zone; None where it is none."""
    try:
        if column.unit is not None:
            seconds = float(cell) / {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.unit]
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        if column.format is not None:
            return datetime.strptime(cell, column.format).replace(tzinfo=None)
        return datetime.fromisoformat(cell.replace(" UTC", "+00:00").replace("Z", "+00:00")).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return None
