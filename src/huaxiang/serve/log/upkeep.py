"""What a log lets go of, in its time: ids that nobody repeats any more, and requests that are folded and old."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from huaxiang.errors import HuaxiangError
from huaxiang.serve.log.log import SLICE, Log
from huaxiang.serve.log.met import MOST

log = logging.getLogger(__name__)

EVERY_S = 3_600.0
FIRST_S = 60.0  # after the start
MORE_S = 0.2  # between two slices: what comes in the meantime is written first
JUMP_S = 600.0  # a clock that goes this far astray from the time that passed is not believed


class Upkeep:
    """Used by the thread that writes the log. keep_days: of requests (0: for ever); safe_upto: the offset up to which a request's content
    is safe elsewhere (none, until who folds them says so)"""

    def __init__(
        self,
        of: Log,
        *,
        keep_days: float,
        safe_upto: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._log, self._keep_days, self.safe_upto = of, keep_days, safe_upto
        self._clock, self._ticks = clock, ticks or _passed
        self._due = self._ticks() + FIRST_S
        self._ahead = clock() - self._ticks()  # stays as it is while the clock only goes on
        self.purged = self.forgotten = 0

    def rest(self) -> float:
        """Seconds until `run` is due."""
        return max(0.0, self._due - self._ticks())

    def run(self) -> None:
        """One slice of it; never raises: what could not be done now is done later."""
        self._due = self._ticks() + EVERY_S
        if abs(self._clock() - self._ticks() - self._ahead) > JUMP_S:
            log.warning("the clock has jumped: nothing old is deleted until huaxiang is started anew")
            return
        now = int(self._clock() * 1e6)
        try:
            forgotten, purged = self._log.forget_ids(now), 0
            if self._keep_days:
                purged = self._log.purge(now, keep_days=self._keep_days, upto=self.safe_upto())
            self.forgotten, self.purged = self.forgotten + forgotten, self.purged + purged
            if forgotten >= MOST or purged >= SLICE:
                self._due = self._ticks() + MORE_S
        except HuaxiangError as error:
            log.warning("old requests could not be deleted: %s", error.what())
        except Exception as error:  # noqa: BLE001 - the thread that writes must outlive it
            log.warning("old requests could not be deleted: %s", type(error).__name__)


def _passed() -> float:
    """Seconds that went by, those too in which the machine slept."""
    slept = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if slept is None else time.clock_gettime(slept)
