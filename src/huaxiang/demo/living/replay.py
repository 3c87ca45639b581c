"""Sends what was held back to the shop's own collector, over HTTP, in its order and at a chosen speed, as a site's SDK would.

How many are acknowledged stands in a file beside the messages, so a replay that was stopped goes on where it was; what was sent and not yet
noted is sent again under the same ids, and counts once.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import threading
import time
from collections import Counter, deque
from datetime import datetime
from pathlib import Path
from typing import Any

from huaxiang.demo.living import MESSAGES, SENT
from huaxiang.engine.lake import write_atomically

log = logging.getLogger(__name__)

AT_ONCE = 200  # messages of one request
TICK_S = 0.1  # how long it gathers what comes due
AGAIN_S = 0.5  # after the collector did not answer, or said: later
RATE_S = 5.0  # what a rate is taken over


class Replay:
    """Works in a thread of its own, until all is sent or it is closed. speed: seconds of the shop's time in one of ours (0: as fast as it goes)"""

    def __init__(self, folder: Path, *, host: str, port: int, write_key: str, speed: float) -> None:
        self._folder, self._host, self._port, self._speed = folder, host, port, speed
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(f'{write_key}:'.encode()).decode()}",
            "Content-Type": "application/json",
        }
        with (folder / MESSAGES).open(encoding="utf-8") as lines:
            self._messages: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.total = len(self._messages)
        self.sent = int((folder / SENT).read_text(encoding="utf-8"))
        self.refused = 0  # requests that the collector will not take, ever
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), self.sent)], maxlen=1_000)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huaxiang-replay", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends after the request in hand."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def over(self) -> bool:
        return self.sent >= self.total

    @property
    def at(self) -> datetime | None:
        """The shop's time: of the last message sent, in UTC (None: there is no message)."""
        return _time(self._messages[max(self.sent - 1, 0)]) if self._messages else None

    def rate(self) -> float:
        """Messages a second, of late."""
        now = time.monotonic()
        since, before = next((one for one in list(self._recent) if now - one[0] <= RATE_S), (now - RATE_S, self.sent))
        return (self.sent - before) / max(now - since, TICK_S)

    def whom(self) -> str:
        """A customer to watch: of those who order again in what is replayed and look around too, whose first order comes soonest ("": nobody
        who is known does anything)."""
        orders: dict[str, list[int]] = {}
        did: Counter[str] = Counter()
        for place, message in enumerate(self._messages):
            if (user := message.get("userId")) is not None:
                did[user] += 1
                if message.get("event") == "Order Completed":
                    orders.setdefault(user, []).append(place)
        again = {user: places[0] for user, places in orders.items() if len(places) > 1 and did[user] >= 4 * len(places)}
        return min(again, key=again.__getitem__) if again else max(did, key=did.__getitem__, default="")

    def _run(self) -> None:
        if self.over:
            return
        first, begun = _time(self._messages[self.sent]), None
        while not self._closing.is_set() and not self.over:
            some = self._messages[self.sent : self.sent + AT_ONCE]
            if self._speed:
                begun = begun or time.monotonic()
                passed = (time.monotonic() - begun) * self._speed
                some = [one for one in some if (_time(one) - first).total_seconds() <= passed]
            if some and not self._send(some):
                self._closing.wait(AGAIN_S)
                begun = begun and begun + AGAIN_S  # the shop's time stood still
                continue
            if self._speed and len(some) < AT_ONCE:
                self._closing.wait(TICK_S)

    def _send(self, some: list[dict[str, Any]]) -> bool:
        """Whether the collector took them, or never will; False: later."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            connection.request("POST", "/v1/batch", json.dumps({"batch": some}).encode(), self._headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):  # not listening yet, or no more
            return False
        finally:
            connection.close()
        if answer.status not in (200, 400):  # later; or whoever answers there is not our collector
            return False
        if answer.status == 400:
            self.refused += 1
            log.error("the collector refused %d messages of the replay", len(some))
        self.sent += len(some)
        self._recent.append((time.monotonic(), self.sent))
        write_atomically(self._folder / SENT, str(self.sent))
        return True


def _time(message: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(message["timestamp"])
