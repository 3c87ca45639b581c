"""The world's frame: how many customers, which days, and where chance comes from.

Times are days since START in the shop's own clock (UTC + 8); they become UTC when they are written.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

START = datetime(2024, 1, 1)
UTC_OFFSET_DAYS = 8 / 24
DAY_US = 86_400_000_000
PIECE = 4096  # customers drawn together: memory follows it, and so do the draws, so it is no option
_IDS = 1 << 27  # ids are numbers shuffled among these
FESTIVALS = (169, 315, 346)  # 18 June, 11 November, 12 December: days of the year 2024 counted from 0


@dataclass(frozen=True)
class World:
    """users: ordinary customers; days: what the shop records; horizon: days after that, known to the truth only; start: its first day, a
    Monday (the draws are the same whichever it is: all that is written moves along)."""

    users: int = 3000
    days: int = 366
    horizon: int = 90
    seed: int = 1
    start: datetime = START

    @property
    def moved_us(self) -> int:
        """How much later than in 2024 everything happens."""
        return (self.start - START) // timedelta(microseconds=1)

    @property
    def pieces(self) -> int:
        return -(-self.users // PIECE)

    def chance(self, what: str, piece: int = 0) -> np.random.Generator:
        """The chance of one purpose and piece alone: what one piece draws changes no other."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode()), piece])


def year_until(end: date) -> tuple[datetime, int]:
    """The Monday a year or a little less before the day `end`, and the days from it to the midnight at which `end` begins."""
    first = datetime(end.year, end.month, end.day) - timedelta(days=366)
    first += timedelta(days=-first.weekday() % 7)
    return first, (datetime(end.year, end.month, end.day) - first).days


def user_ids(numbers: Ints) -> Ints:
    """The shop's ids of customers by number: nine digits that tell nothing of the order."""
    return 100_000_000 + (numbers * 54_613_331 + 7_654_321) % _IDS


def utc_us(days: Floats) -> Ints:
    """Microseconds since 1970 in UTC of times in days, to the millisecond."""
    start = int((START - datetime(1970, 1, 1)).total_seconds()) * 1_000_000
    return start + np.round((days - UTC_OFFSET_DAYS) * 86_400_000).astype(np.int64) * 1000


def hash01(*parts: Ints | int) -> Floats:
    """A number in [0, 1) that the whole numbers `parts` fix (broadcast): chance that is the same wherever it is asked for.

    source: splitmix64's finaliser, Steele, Lea & Flood 2014
    """
    mixed: npt.NDArray[np.uint64] = np.array(0x9E3779B97F4A7C15, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            mixed = mixed + np.asarray(part, dtype=np.int64).astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53))


def day_weights(days: int) -> Floats:
    """How busy each day is, 1 on average of ordinary days: weekends, festivals and the days around them."""
    day = np.arange(days)
    weights = np.array([0.95, 0.92, 0.92, 0.95, 1.02, 1.18, 1.14])[day % 7]  # START is a Monday
    for festival in FESTIVALS:
        away = (day % 366) - festival
        weights = weights * np.where((away >= -3) & (away <= 1), np.where(away == 0, 1.9, 1.35), 1.0)
    return weights


# Share of sessions in each hour of the shop's clock: most people; night owls.
_BY_DAY = [6, 3, 2, 1, 1, 2, 6, 14, 22, 30, 34, 33, 38, 36, 30, 30, 31, 33, 38, 48, 62, 66, 48, 22]
_BY_NIGHT = [48, 40, 30, 18, 8, 3, 2, 4, 8, 12, 15, 18, 24, 25, 22, 22, 22, 24, 26, 32, 42, 54, 62, 60]
HOURS = np.cumsum(np.array([_BY_DAY, _BY_NIGHT], dtype=np.float64), axis=1)
HOURS /= HOURS[:, -1:]
