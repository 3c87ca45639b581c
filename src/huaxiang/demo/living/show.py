"""How the replay stands and how one customer's profile moves: a block that changes on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from huaxiang.client import Client, ClientError
from huaxiang.client.calls import trait_of
from huaxiang.client.shapes import Profile
from huaxiang.demo.living.replay import Replay
from huaxiang.look.numbers import Numbers
from huaxiang.words import Lang, Words

BLOCK_S, LINE_S = 0.5, 5.0
TRAITS = ("lifecycle", "orders_30d", "spend_30d", "recency_days", "churn_30d", "next_items")
ITEMS = 3  # of what comes next
_ZONE = ZoneInfo("Asia/Shanghai")


class Show:
    """Works in a thread of its own.

    made: how many profiles were made; client: asks the API; user: whose profile is shown, by the shop's own id; titles: of items, by id
    """

    def __init__(
        self,
        console: Console,
        lang: Lang,
        replay: Replay,
        *,
        made: Callable[[], int],
        client: Client,
        user: str,
        titles: Mapping[str, str],
    ) -> None:
        self._console, self._words, self._numbers = console, Words(lang), Numbers(lang)
        self._replay, self._made, self._client, self._user, self._titles = replay, made, client, user, titles
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huaxiang-show", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False) as live:
                while not self._closing.wait(BLOCK_S):
                    live.update(self._block(), refresh=True)
            return
        last: list[str] = []
        while not self._closing.wait(LINE_S if last else BLOCK_S):
            lines = self._lines()
            if lines != last:
                self._console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
            last = lines

    def standing(self) -> str:
        """How far the replay is."""
        replay, number = self._replay, self._numbers.number
        about = {"sent": number(replay.sent), "total": number(replay.total), "made": number(self._made())}
        if replay.over:
            return self._words("cli.say.living_over", **about)
        at = replay.at
        moment = "" if at is None else f"{at.astimezone(_ZONE):%Y-%m-%d %H:%M}"
        return self._words("cli.say.living_standing", at=moment, rate=number(replay.rate()), **about)

    def profile(self) -> dict[str, str]:
        """What the customer's profile says now, by trait; nothing while the server does not answer or knows nobody."""
        try:
            profile = self._client.profile(self._user) if self._user else None
        except ClientError:
            return {}
        return {} if profile is None else {name: self._value(profile, name) for name in TRAITS}

    def _value(self, profile: Profile, name: str) -> str:
        found = trait_of(profile, name)
        value: Any = None if found is None else found["value"]
        if value is None:
            return "–"
        if name == "lifecycle":
            return self._words.either(f"profile.lifecycle.{value}", str(value))
        if name == "spend_30d":
            return self._numbers.money(value)
        if name == "churn_30d":
            return self._numbers.percent(value)
        if name == "next_items":
            return ", ".join(self._titles.get(one["item_id"], one["item_id"]) for one in value[:ITEMS])
        if name == "recency_days":
            return self._numbers.span(value)
        return self._numbers.number(value)

    def _lines(self) -> list[str]:
        pairs = "  ".join(f"{name}: {value}" for name, value in self.profile().items())
        line = self._words("cli.say.living_pairs", user=self._user, pairs=pairs)
        return [self.standing(), line] if pairs else [self.standing()]

    def _block(self) -> Table:
        outer = Table.grid()
        outer.add_row(self.standing())
        found = self.profile()
        if found:
            block = Table.grid(padding=(0, 2))
            for name, value in found.items():
                title = self._words("cli.say.living_churn" if name == "churn_30d" else f"traits.{name}")
                block.add_row(f"[dim]{title}[/]", Text(value))
            outer.add_row(Text(self._words("cli.say.living_customer", user=self._user), style="bold"))
            outer.add_row(block)
        return outer
