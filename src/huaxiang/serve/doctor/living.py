"""Checks of what lives: states, worker, quarantine, sources, pulls."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from huaxiang.errors import HuaxiangError, StoreError
from huaxiang.serve.doctor.finding import Finding, fine, told, warn
from huaxiang.serve.doctor.patient import Patient
from huaxiang.serve.doctor.store import has_table
from huaxiang.store import open_database

LATE_US = 600_000_000  # a request that waits longer to be folded waits for a worker
MANY, SHARE = 10, 0.01  # of messages in the quarantine
STATES = "live.db"


def check_states(patient: Patient) -> Iterator[Finding]:
    """The states are whole, and belong to the definitions of the last build."""
    path = patient.folder / STATES
    if not path.exists():
        yield fine("states", "states_none")
        return
    with contextlib.closing(open_database(path)) as states:
        if states.rows("PRAGMA quick_check(1)") != [("ok",)]:
            raise StoreError("store.damaged", path=path)
    with patient.shop.live() as live:
        yield fine("states", "states", states=len(live.sizes()))


def check_worker(patient: Patient) -> Iterator[Finding]:
    """What waits to be folded, and for how long."""
    if patient.log is None or patient.store is None:
        return
    applied, path = -1, patient.folder / STATES
    if path.exists():
        with contextlib.closing(open_database(path)) as states:
            found = states.rows("SELECT upto FROM applied WHERE source = 'log'")
            applied = int(found[0][0]) if found else -1
    sql = "SELECT count(*), min(received_at) FROM request WHERE id > ?"
    waiting, oldest = patient.store.rows(sql, (applied,))[0]
    if waiting and patient.now - int(oldest) > LATE_US:
        yield warn("worker", "worker_late", waiting=waiting, minutes=round((patient.now - int(oldest)) / 60e6))
    else:
        yield fine("worker", "worker", waiting=waiting)


def check_quarantine(patient: Patient) -> Iterator[Finding]:
    if patient.log is None or patient.store is None:
        return
    reasons: dict[str, int] = {}
    for (_, _, reason), n in patient.log.refusals().items():
        reasons[reason] = reasons.get(reason, 0) + n
    total = sum(reasons.values())
    good = int(patient.store.rows("SELECT coalesce(sum(messages), 0) FROM request")[0][0])
    top = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items(), key=lambda one: -one[1])[:3])
    if total >= MANY and total > SHARE * (good + total):
        yield warn("quarantine", "quarantine_many", total=total, top=top, folder=patient.folder)
    else:
        yield fine("quarantine", "quarantine" if total else "quarantine_none", total=total, top=top)


def check_sources(patient: Patient) -> Iterator[Finding]:
    if not has_table(patient, "source") or patient.store is None:
        return
    names = [name for (name,) in patient.store.rows("SELECT name FROM source WHERE closed_at IS NULL ORDER BY name")]
    if names or patient.shop.settings.live.pull:
        yield fine("sources", "sources", names=", ".join(names) or "-")
    else:
        yield warn("sources", "sources_none", folder=patient.folder)


def check_pulls(patient: Patient) -> Iterator[Finding]:
    pulls = patient.shop.settings.live.pull
    if not pulls or not has_table(patient, "pull_state") or patient.store is None:
        return
    errors = {name: error for name, error in patient.store.rows("SELECT pull, error FROM pull_state") if error}
    for name in sorted(set(pulls) & set(errors)):
        said = json.loads(errors[name])
        yield told("pulls", HuaxiangError(said["key"], **said["values"]), "warn")
    if not set(pulls) & set(errors):
        yield fine("pulls", "pulls", names=", ".join(sorted(pulls)))
