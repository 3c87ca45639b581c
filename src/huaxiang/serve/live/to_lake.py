"""The log into the lake, exactly once: what the collector took becomes rows of the raw tables, which the next build reads like those of
any other source.

How far the lake knows the log stands in the lake's manifest, which is replaced when the rows are there (engine/lake.py): a kill in between
leaves neither. Each append also carries the offset as a Delta application transaction, for whoever reads the tables without us.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from huaxiang.collect.raw import ERASED, renew_raw
from huaxiang.engine import Step
from huaxiang.errors import HuaxiangError, ShopError
from huaxiang.features.live.open import find_erased, find_refused
from huaxiang.serve.log import Entry, Log
from huaxiang.serve.map import SCHEMA, Link, Mapper, Person, Rows, map_entries
from huaxiang.serve.polite import step_back
from huaxiang.shop import Shop
from huaxiang.tables import arrow_schema, raw_columns

log = logging.getLogger(__name__)

APP = "huaxiang-live"
STEP = "live"
AT_ONCE = 50_000  # events of one append
FOREVER = 1 << 62
_USER, _VISITOR = (SCHEMA.names.index(name) for name in ("user_id", "anonymous_id"))
CLOSING_S = 5.0
SOON_S = 10.0  # how often at the latest while there is no build: somebody waits for the first
BUSY_S = 2.0  # another step of the journey is running: try again


def written_upto(shop: Shop) -> int:
    """The offset up to which the lake knows the log."""
    return int(shop.lake.note(STEP).get("offset", 0))


def write_some(shop: Shop, to: Log, mapper: Mapper, *, upto: int, erased: dict[str, int]) -> int:
    """Writes the next requests of the log into the lake, in one step; gives how many (0: all up to `upto` are there).

    raises: ShopError("lake.busy") while another step runs
    """
    with shop.lake.step(STEP) as step:
        before = shop.lake.note(STEP)
        offset = int(before.get("offset", 0))
        put_erased(step, erased)
        erased = find_erased(shop.lake) | erased | dict.fromkeys(find_refused(shop.lake), FOREVER)
        taken, tables = _gather(to, mapper, after=offset, upto=upto, erased=erased)
        if taken:
            offset = taken[-1]
        for name, rows in tables.items():
            if rows.num_rows:
                renew_raw(step, name)
                step.append(f"raw.{name}", rows, once=(APP, offset))
        step.note |= {"offset": offset, "events": before.get("events", 0) + tables["events"].num_rows}
    return len(taken)


def _gather(
    to: Log, mapper: Mapper, *, after: int, upto: int, erased: dict[str, int]
) -> tuple[list[int], dict[str, pa.Table]]:
    """The offsets of the requests behind `after`, and what they come to, by raw table."""
    taken: list[int] = []
    events: list[tuple[Any, ...]] = []
    lists: dict[str, list[dict[str, Any]]] = {"users": [], "identifiers": []}
    while len(events) < AT_ONCE:
        entries = [entry for entry in to.read(taken[-1] if taken else after, messages=AT_ONCE) if entry.offset <= upto]
        if not entries:
            break
        for entry in entries:
            rows = map_entries(mapper, [entry])
            events += _events(entry, rows, erased)
            _add(lists, entry, rows, erased)
            taken.append(entry.offset)
    found = {name: pa.Table.from_pylist(rows, arrow_schema(raw_columns(name))) for name, rows in lists.items()}
    return taken, {"events": _table(events)} | found


def _events(entry: Entry, rows: Rows, erased: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    """Rows of raw.events, in the order of its columns."""
    at = _at(entry)
    for number, row in enumerate(rows.events):
        if not _is_gone(entry, erased, row[_USER], row[_VISITOR]):
            yield (*row, source_of(entry), False, f"{APP}:{entry.offset}.{number}", at, False, None)


def _table(events: list[tuple[Any, ...]]) -> pa.Table:
    schema = arrow_schema(raw_columns("events"))
    columns = list(zip(*events, strict=True)) if events else [()] * len(schema)
    return pa.table([pa.array(values, one.type) for values, one in zip(columns, schema, strict=True)], schema=schema)


def _add(lists: dict[str, list[dict[str, Any]]], entry: Entry, rows: Rows, erased: dict[str, int]) -> None:
    about = {"source": source_of(entry), "third_party": False, "collected_at": _at(entry), "is_test": False}
    for number, person in enumerate(rows.people):
        if not _is_gone(entry, erased, person.user_id) and (declared := declared_of(person)):
            row = declared | about | {"user_id": person.user_id, "row_id": f"{APP}:{entry.offset}.u{number}"}
            lists["users"].append(row)
    for number, link in enumerate(rows.links):
        if link.rule != "login" and not _is_gone(
            entry, erased, link.user_id, link.anonymous_id
        ):  # logins stand in the events
            lists["identifiers"].append(_identifier(link) | about | {"row_id": f"{APP}:{entry.offset}.i{number}"})


def _is_gone(entry: Entry, erased: dict[str, int], *users: str | None) -> bool:
    return bool(erased) and any(user is not None and entry.received_at <= erased.get(user, -1) for user in users)


def source_of(entry: Entry) -> str:
    """What the lake calls the source; no source of [[collect]] has such a name."""
    return f"live:{entry.source}"


def _at(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.received_at / 1e6, UTC).replace(tzinfo=None)


def _identifier(link: Link) -> dict[str, Any]:
    return {
        "kind": link.rule,
        "value": link.anonymous_id,
        "user_id": link.user_id,
        "anonymous_id": link.anonymous_id,
        "ts": link.at,
    }


def declared_of(person: Person) -> dict[str, Any]:
    """What an identify declares, in the types of the table users; what does not fit is left out."""
    found: dict[str, Any] = dict(person.declared)
    for name, read in _TYPED.items():
        if name in found:
            value = read(found.pop(name))
            if value is not None:
                found[name] = value
    return found


def _year(text: str) -> int | None:
    return int(text) if text.isdigit() and 1900 <= int(text) <= 2100 else None


def _moment(text: str) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970."""
    try:
        if text.isdigit():
            number = int(text)
            return datetime.fromtimestamp(number / 1000 if number > 10**11 else number, UTC).replace(tzinfo=None)
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):  # no time: not known
        return None


_TYPED: dict[str, Callable[[str], Any]] = {"birth_year": _year, "registered_at": _moment}


def put_erased(step: Step, erased: dict[str, int]) -> None:
    """Tells the lake who was erased, where it does not know it: cleaning leaves out what was received until then. It forgets nobody."""
    known = find_erased(step.lake)
    if new := {user: upto for user, upto in erased.items() if upto > known.get(user, -1)}:
        every = known | new
        step.replace(
            ERASED, pa.table({"user_id": pa.array(every, pa.string()), "upto": pa.array(every.values(), pa.int64())})
        )


class LakeWriter:
    """Writes in a thread of its own, with an engine of its own. every_s: how often; upto: the offset up to which states know the log"""

    def __init__(
        self,
        folder: Path,
        to: Log,
        mapper: Mapper,
        *,
        every_s: float,
        upto: Callable[[], int],
        erased: Callable[[], dict[str, int]],
    ) -> None:
        self._folder, self._log, self._mapper, self._every = folder, to, mapper, every_s
        self._upto, self._erased = upto, erased
        self.written = 0
        self.stuck = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huaxiang-lake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Writes what is folded, and ends; what cannot be written waits in the log."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def write_all(self, shop: Shop) -> int:
        """Everything that waits, in steps (at the end for no longer than CLOSING_S); gives the requests."""
        total, start = 0, time.monotonic()
        while done := self._write(shop):
            total += done
            if self._closing.is_set() and time.monotonic() - start > CLOSING_S:
                break
        return total

    def _write(self, shop: Shop) -> int:
        if self._upto() <= written_upto(shop):
            return 0
        done = write_some(shop, self._log, self._mapper, upto=self._upto(), erased=self._erased())
        self.written = written_upto(shop)
        return done

    def _run(self) -> None:
        step_back()
        with Shop.open(self._folder) as shop:
            self.written = written_upto(shop)
            last = False
            while not last:
                last = self._closing.wait(self._every if shop.lake.note("profile") else min(self._every, SOON_S))
                start = time.monotonic()
                try:
                    done = self.write_all(shop)
                except ShopError as error:
                    if error.key != "lake.busy":
                        self._tell(error)
                    self._closing.wait(BUSY_S)
                except Exception as error:  # noqa: BLE001 - the thread must outlive it; what is not written stays in the log
                    self._tell(error)
                else:
                    log.info("live: %d requests into the lake, %.2f s", done, time.monotonic() - start)

    def _tell(self, error: Exception) -> None:
        self.stuck += 1
        log.error(
            "the log could not be written into the lake: %s",
            error if isinstance(error, HuaxiangError) else type(error).__name__,
        )
