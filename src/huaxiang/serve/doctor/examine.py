"""Every check in its order. One that cannot be made says so, and the others go on."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from huaxiang.errors import HuaxiangError
from huaxiang.serve.doctor.finding import Finding, fine, told
from huaxiang.serve.doctor.folder import check_disk, check_keys, check_lake, check_models, check_vault
from huaxiang.serve.doctor.living import check_pulls, check_quarantine, check_sources, check_states, check_worker
from huaxiang.serve.doctor.patient import Patient
from huaxiang.serve.doctor.store import check_clock, check_ids, check_log, check_store
from huaxiang.shop import Shop

log = logging.getLogger(__name__)
Check = Callable[[Patient], Iterator[Finding]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("keys", check_keys),
    ("disk", check_disk),
    ("lake", check_lake),
    ("models", check_models),
    ("vault", check_vault),
    ("store", check_store),
    ("log", check_log),
    ("ids", check_ids),
    ("clock", check_clock),
    ("states", check_states),
    ("worker", check_worker),
    ("quarantine", check_quarantine),
    ("sources", check_sources),
    ("pulls", check_pulls),
)


def examine(folder: Path, *, now: int, quick: bool = False) -> list[Finding]:
    """What every check found. quick: without reading every file and every request; now: µs since 1970"""
    try:
        shop = Shop.open(folder)
    except HuaxiangError as error:
        return [told("settings", error)]
    found = [fine("settings", "settings", path=folder / "huaxiang.toml")]
    with shop:
        patient = Patient(shop, quick, now)
        try:
            for name, check in CHECKS:
                found += _made(name, check, patient)
        finally:
            if patient.store is not None:
                patient.store.close()
    return found


def _made(name: str, check: Check, patient: Patient) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(patient))
    except HuaxiangError as error:
        found.append(told(name, error))
    except Exception as error:  # a shop that is ill in a way that we did not foresee is what this is for
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        log.debug("check %s", name, exc_info=True)
        found.append(told(name, HuaxiangError("cli.unexpected", kind=type(error).__name__, place=place)))
    return found
