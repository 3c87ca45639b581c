"""Checks of what lives: states, worker, quarantine, sources, pulls."""

from __future__ import annotations

import json
from collections.abc import Iterator

from huaxiang.errors import DefinitionError, HuaxiangError, StoreError
from huaxiang.serve.doctor.finding import Finding, fine, told, warn
from huaxiang.serve.doctor.patient import Patient, has_table, states_of
from huaxiang.serve.live.to_lake import written_upto

LATE_US = 600_000_000  # a request that waits longer to be folded waits for a worker
MANY, SHARE = 10, 0.01  # of messages in the quarantine
STATES = "live.db"


def check_states(patient: Patient) -> Iterator[Finding]:
    """The states are whole, and belong to the definitions of the last build."""
    with states_of(patient) as states:
        if states is None:
            yield fine("states", "states_none")
            return
        if states.kind == "sqlite" and states.rows("PRAGMA quick_check(1)") != [("ok",)]:
            raise StoreError("store.damaged", path=patient.folder / STATES)
    if not patient.shop.lake.note("build"):
        yield fine("states", "states_none")
        return
    try:
        with patient.shop.live() as live:
            yield fine("states", "states", states=len(live.sizes()))
    except DefinitionError:
        yield warn("states", "states_other")


def check_worker(patient: Patient) -> Iterator[Finding]:
    """What waits to be folded, and for how long."""
    if patient.log is None or patient.store is None:
        return
    applied = -1
    with states_of(patient) as states:
        if states is not None and (found := states.rows("SELECT upto FROM applied WHERE source = 'log'")):
            applied = int(found[0][0])
    yield _waiting(patient, "worker", applied, LATE_US)


def check_to_lake(patient: Patient) -> Iterator[Finding]:
    """What the next build would not know yet; it stays in the log as long."""
    if patient.log is not None and patient.shop.lake.note("profile"):
        late = LATE_US + int(3e6 * patient.shop.settings.live.lake_every_s)
        yield _waiting(patient, "to_lake", written_upto(patient.shop), late)


def _waiting(patient: Patient, check: str, upto: int, late_us: int) -> Finding:
    """What of the log stands behind an offset, and whether it has for too long."""
    assert patient.store is not None
    sql = "SELECT count(*), min(received_at) FROM request WHERE id > ?"
    waiting, oldest = patient.store.rows(sql, (upto,))[0]
    if waiting and patient.now - int(oldest) > late_us:
        return warn(check, f"{check}_late", waiting=waiting, minutes=round((patient.now - int(oldest)) / 60e6))
    return fine(check, check, waiting=waiting)


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
    if patient.store is None or not has_table(patient.store, "source"):
        return
    names = [name for (name,) in patient.store.rows("SELECT name FROM source WHERE closed_at IS NULL ORDER BY name")]
    if names or patient.shop.settings.live.pull:
        yield fine("sources", "sources", names=", ".join(names) or "-")
    else:
        yield warn("sources", "sources_none", folder=patient.folder)


def check_pulls(patient: Patient) -> Iterator[Finding]:
    pulls = patient.shop.settings.live.pull
    if not pulls or patient.store is None or not has_table(patient.store, "pull_state"):
        return
    errors = {name: error for name, error in patient.store.rows("SELECT pull, error FROM pull_state") if error}
    for name in sorted(set(pulls) & set(errors)):
        said = json.loads(errors[name])
        yield told("pulls", HuaxiangError(said["key"], **said["values"]), "warn")
    if not set(pulls) & set(errors):
        yield fine("pulls", "pulls", names=", ".join(sorted(pulls)))
