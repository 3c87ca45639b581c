"""Checks of a shop's folder: keys, disk, lake, vault, models."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from huaxiang.engine.snapshot import lost_files
from huaxiang.errors import HuaxiangError
from huaxiang.serve.doctor.finding import Finding, bad, fine, told, warn
from huaxiang.serve.doctor.patient import Patient
from huaxiang.trust import load_key

FREE = 500 * 1024 * 1024  # less is soon nothing
MB = 1024 * 1024


def check_keys(patient: Patient) -> Iterator[Finding]:
    keys = patient.folder / "keys"
    needed = ["pseudonym.key"] if patient.shop.lake.names() else []
    if needed or (patient.folder / "vault.db").exists() or (patient.folder / "live").exists():
        needed.append("vault.key")
    if not needed:
        yield fine("keys", "keys_none")
        return
    for name in needed:
        try:
            load_key(keys / name)
        except HuaxiangError as error:
            yield told("keys", error)
            return
    mode = stat.S_IMODE(keys.stat().st_mode)
    if mode & 0o077:
        yield warn("keys", "keys_open", folder=keys, mode=f"{mode:o}")
    else:
        yield fine("keys", "keys")


def check_disk(patient: Patient) -> Iterator[Finding]:
    free, size = shutil.disk_usage(patient.folder).free, _size(patient.folder)
    found = {"free": round(free / MB), "size": round(size / MB)}
    if free < FREE:
        yield bad("disk", "disk_full", **found)
    elif free < size:  # a build writes its tables anew before it lets go of the old ones; so does a backup
        yield warn("disk", "disk_scarce", **found)
    else:
        yield fine("disk", "disk", **found)


def check_lake(patient: Patient) -> Iterator[Finding]:
    lake = patient.shop.lake
    if not lake.names():
        yield warn("lake", "lake_empty", folder=patient.folder)
        return
    lost = lost_files(lake)
    if not patient.quick:
        for name in lake.names():
            if name not in lost and (unread := sum(1 for path in lake.files(name) if not _is_parquet(path))):
                lost[name] = unread
    if raw := [name for name in lost if name.startswith("raw.")]:
        yield bad("lake", "lake_raw_lost", names=", ".join(raw))
    elif lost:
        yield bad("lake", "lake_lost", names=", ".join(lost), folder=patient.folder)
    else:
        yield fine("lake", "lake", tables=len(lake.names()))


def check_vault(patient: Patient) -> Iterator[Finding]:
    if not (patient.folder / "vault.db").exists():
        yield fine("vault", "vault_none")
        return
    yield fine("vault", "vault", values=patient.shop.vault().check())


def check_models(patient: Patient) -> Iterator[Finding]:
    declared = set(patient.shop.settings.outcomes)
    cards: dict[str, str] = patient.shop.lake.note("train").get("cards", {})
    gone = [name for name, path in cards.items() if not (patient.folder / "models" / path).is_file()]
    if gone:
        yield bad("models", "models_lost", names=", ".join(sorted(gone)), folder=patient.folder)
    elif untrained := sorted(declared - set(cards)):
        yield warn("models", "models_none", names=", ".join(untrained), folder=patient.folder)
    else:
        yield fine("models", "models", outcomes=len(cards))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:  # swept meanwhile
            continue
    return total


def _is_parquet(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return False
    return True
