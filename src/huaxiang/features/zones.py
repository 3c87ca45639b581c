"""Local time as SQL that any engine runs: the shop's zone as a short list of offsets, taken from Python's zoneinfo."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def local_sql(column: str, zone: str, first: datetime, last: datetime) -> str:
    """SQL of the local time of the UTC column `column`, right from `first` to `last` (naive UTC)."""
    changes = offset_changes(zone, first, last)
    if len(changes) == 1:
        return _moved(column, changes[0][1])
    cases = "".join(
        f"WHEN {column} < TIMESTAMP '{until}' THEN {_moved(column, offset)} "
        for (until, _), (_, offset) in zip(changes[1:], changes, strict=False)
    )
    return f"CASE {cases}ELSE {_moved(column, changes[-1][1])} END"


def offset_changes(zone: str, first: datetime, last: datetime) -> list[tuple[datetime, int]]:
    """(UTC moment, offset in seconds from then on): the first pair stands for everything up to the next."""
    place = ZoneInfo(zone)
    found = [(first, _offset(place, first))]
    step, moment = timedelta(days=7), first
    while moment < last:
        after = min(moment + step, last)
        if _offset(place, after) != found[-1][1]:
            low, high = moment, after
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                low, high = (middle, high) if _offset(place, middle) == found[-1][1] else (low, middle)
            found.append((high.replace(microsecond=0), _offset(place, high)))
            after = high
        moment = after
    return found


def local_day(moment: datetime, zone: str) -> date:
    """The local day of a naive UTC moment."""
    return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date()


def utc_midnight(day: date, zone: str) -> datetime:
    """The naive UTC moment at which the local `day` begins."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None)


def _offset(place: ZoneInfo, moment: datetime) -> int:
    offset = moment.replace(tzinfo=UTC).astimezone(place).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _moved(column: str, seconds: int) -> str:
    return f"({column} + to_seconds({seconds}))" if seconds else column
