"""Checks of the live store: that it opens, is whole, of this version, and that its log can be read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from huaxiang.errors import StoreError, TrustError
from huaxiang.serve import sources
from huaxiang.serve.doctor.finding import Finding, bad, fine, told, warn
from huaxiang.serve.doctor.patient import Patient
from huaxiang.serve.log import Log, Seal, layout, met
from huaxiang.serve.pull import positions
from huaxiang.store import Migration, open_database
from huaxiang.trust import load_key

PARTS: dict[str, tuple[Migration, ...]] = {one.PART: one.MIGRATIONS for one in (layout, sources, positions, met)}
AHEAD_US, FAR_US = 60_000_000, 3_600_000_000  # how far the newest message may lie after the clock


def check_store(patient: Patient) -> Iterator[Finding]:
    """Opens it for the checks that follow."""
    path = patient.store_path
    if path is not None and not path.exists():
        yield fine("store", "store_none")
        return
    patient.store = open_database(path or patient.shop.settings.live.store)
    whole = list(check_integrity(patient))
    yield from whole
    if any(one.status == "bad" for one in whole):  # what else is found in it would be a guess
        patient.store.close()
        patient.store = None
        return
    yield from check_layout(patient)
    if not patient.store.rows(_HAS_TABLE[patient.store.kind], ("request",)):
        return
    try:
        key = load_key(patient.folder / "keys" / "vault.key")
        patient.log = Log(patient.store, Seal(key), None)
    except TrustError as error:
        yield told("log", error)


def check_integrity(patient: Patient) -> Iterator[Finding]:
    """SQLite's own check of every page; of PostgreSQL only that it answers."""
    assert patient.store is not None
    if patient.store.kind == "postgres":
        version = patient.store.rows("SHOW server_version")[0][0]
        yield fine("store", "store_postgres", version=version)
        return
    found = patient.store.rows("PRAGMA quick_check(5)" if patient.quick else "PRAGMA integrity_check(5)")
    if found == [("ok",)]:
        yield fine("store", "store", path=patient.store_path)
    else:
        yield told("store", StoreError("store.damaged", path=patient.store_path))


def check_layout(patient: Patient) -> Iterator[Finding]:
    assert patient.store is not None
    there = patient.store.rows(_HAS_TABLE[patient.store.kind], ("layout",))
    found: dict[str, int] = dict(patient.store.rows("SELECT part, number FROM layout")) if there else {}
    newest = {part: max(step.number for step in steps) for part, steps in PARTS.items()}
    for part, number in found.items():
        if number > newest.get(part, number):
            yield told("layout", StoreError("store.newer", part=part, found=number, known=newest[part]))
            return
    old = sorted(part for part, number in found.items() if number < newest.get(part, number))
    yield warn("layout", "layout_old", parts=", ".join(old)) if old else fine("layout", "layout")


def check_log(patient: Patient) -> Iterator[Finding]:
    """Every request opened (quick: the oldest and the newest), and their offsets in order."""
    log = patient.log
    if log is None:
        return
    last, after, read = log.last(), 0, 0
    entries = log.read(0)
    while entries:
        read, after = read + len(entries), entries[-1].offset
        entries = log.read(max(after, last - 100) if patient.quick and read <= 200 else after)
    yield fine("log", "log", requests=read, last=last)


def check_ids(patient: Patient) -> Iterator[Finding]:
    """The index of message ids beside a SQLite file: none of another log, each part readable."""
    if patient.log is None or patient.store_path is None:
        return
    folder, last = patient.folder / "live" / "ids", patient.log.last()
    ids = 0
    for path in sorted(folder.glob("*.ids")):
        try:
            _, upto, _ = (int(part) for part in path.stem.split("-"))
            ids += np.load(path, mmap_mode="r", allow_pickle=False).shape[1]
        except FileNotFoundError:  # merged meanwhile
            continue
        except (ValueError, EOFError, OSError):
            yield bad("ids", "ids_damaged", path=path)
            return
        if upto > last:
            yield warn("ids", "ids_other", folder=folder)
            return
    yield fine("ids", "ids", ids=ids)


def check_clock(patient: Patient) -> Iterator[Finding]:
    if patient.log is None or patient.store is None:
        return
    newest = patient.store.rows("SELECT max(received_at) FROM request")[0][0]
    behind = int(newest or 0) - patient.now
    if behind > AHEAD_US:
        found = {"minutes": round(behind / 60e6)}
        yield bad("clock", "clock", **found) if behind > FAR_US else warn("clock", "clock", **found)
    else:
        yield fine("clock", "clock_good")


_HAS_TABLE = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
    "postgres": "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?",
}


def has_table(patient: Patient, name: str) -> bool:
    return patient.store is not None and bool(patient.store.rows(_HAS_TABLE[patient.store.kind], (name,)))
