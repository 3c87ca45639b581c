"""The behaviour model of the past: trained only on what was known before the first validation date of the shop's outcomes.

Its vectors may therefore stand among the columns of a contest: neither it, nor the head on them, saw what the validation and test labels
count. What the contest examined is what predicts: the same model's vectors of today.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from huaxiang.engine import Step
from huaxiang.models.behaviour_table import TABLE
from huaxiang.models.card import Texts, say
from huaxiang.models.foresight import HOME, Foresight, load_foresight, save_foresight
from huaxiang.models.next_item.lake import ShopItems, most_telling, read_items
from huaxiang.models.next_item.sequences import Floats, Sequences
from huaxiang.models.pretrain import LEAST_USERS, TooFewError, train_on
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

if TYPE_CHECKING:
    from huaxiang.models.behaviour import Behaviour

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Past:
    """met: the items whose codes the model reads."""

    model: Behaviour
    met: ShopItems
    version: str

    def embed(self, events: Sequences) -> Floats:
        """(M, 2 D) the vectors of histories whose `item` is 0 for none, else item_no + 1."""
        return self.model.user_vectors(item_events(events, self.met))

    @property
    def embedded(self) -> int:
        """Events of a customer to read: the model's length, and room for several in a row on one item, which count once."""
        return 2 * self.model.config.length


def item_events(events: Sequences, met: ShopItems) -> Sequences:
    """The events of histories that have an item, as the behaviour model takes them: codes of its items, several in a row on one item
    counted once. `events.item` is 0 for none, else item_no + 1."""
    number = events.item - 1
    code = np.searchsorted(met.number, number)
    known = (number >= 0) & (met.number[np.minimum(code, len(met.number) - 1)] == number)
    at = np.flatnonzero(known)
    user = events.user[at]
    fresh = np.ones(len(at), dtype=bool)
    fresh[1:] = (user[1:] != user[:-1]) | (code[at][1:] != code[at][:-1])
    kind = None if events.kind is None else most_telling(events.kind[at], fresh)
    at = at[fresh]
    starts = np.concatenate([[0], np.cumsum(np.bincount(user[fresh], minlength=len(events)))]).astype(np.int64)
    ts, price = (None if part is None else part[at] for part in (events.ts, events.price))
    return Sequences(starts, code[at], ts, kind, price)


def train_past(step: Step, settings: Settings, *, folder: Path, progress: Progress = SILENT) -> Past | None:
    """The model whose vectors the outcomes' contests may read; None where there is none, and `past_why` of the note says why.

    Where every outcome is a declared attribute it is the model of today: no event says what a customer declared, so there is no label
    that it could have seen.
    """
    if not step.has("labels"):
        return None  # no outcome, no contest
    labels = step.lake.engine.sql(step.table("labels"))
    # an attribute's labels are split by customer, all at the last date; others have a date of its own for each split
    dated = f"SELECT outcome FROM ({labels}) GROUP BY outcome HAVING count(DISTINCT as_of) >= count(DISTINCT split)"
    firsts = step.lake.engine.rows(
        f"SELECT min(as_of) FILTER (split = 'valid')::DATE AS day FROM ({labels}) WHERE outcome IN ({dated}) HAVING count(*) > 0"
    )
    met = read_items(step, settings.behaviour.content)
    if not firsts:
        version = str(step.note[TABLE]["version"])
        return Past(load_foresight(folder, version).model, met, version)
    if (first := firsts[0]["day"]) is None:
        _tell(step, say("models.behaviour.why.past_dates"))
        return None
    lesson = folder / HOME / "lesson-past"
    try:
        model, curve, _, _, said = train_on(step, settings, met, lesson, progress, before=first, simple=False)
    except TooFewError:
        shutil.rmtree(lesson, ignore_errors=True)
        _tell(step, say("models.behaviour.why.past_few", need=LEAST_USERS, before=str(first)))
        return None
    found = Foresight(
        {"behaviour": model},
        (1.0,),
        (1e-4,),
        "behaviour",
        met.items.ids,
        {},
        tuple(curve),
        said | {"before": str(first)},
    )
    version = save_foresight(found, folder)
    shutil.rmtree(lesson, ignore_errors=True)
    step.note[TABLE] |= {"past": {"version": version, "before": str(first), "events": said["events"]}}
    return Past(model, met, version)


def _tell(step: Step, why: Texts) -> None:
    step.note[TABLE] |= {"past_why": why}
    log.info("vectors for the outcomes: none: %s", why["en"])
