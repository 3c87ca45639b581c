"""What is kept of one customer between events."""

from __future__ import annotations

from typing import Any

import msgspec

from huaxiang.errors import DefinitionError

LAYOUT = 1
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class State:
    """tiles: day -> slot -> partial; whole: the partials over all history, by slot; keys: for each key plan, value -> its
    slots, its tiles, and the newest day it was met; days: for each condition, the sorted days; latest: for each sequence, its newest events;
    sessions: session id -> intervals; recent: hash of an event's id -> day it was known; later: rows whose time has not come;
    newest: the last day known; forgot: the newest day when old tiles were last dropped; cut: key plans that had more values than are kept.
    """

    __slots__ = ("cut", "days", "forgot", "keys", "later", "latest", "newest", "recent", "sessions", "tiles", "whole")

    def __init__(self, keys: int, days: int, latest: int) -> None:
        self.tiles: dict[int, dict[int, Any]] = {}
        self.whole: list[Any] = []
        self.keys: list[dict[Any, list[Any]]] = [{} for _ in range(keys)]
        self.days: list[list[int]] = [[] for _ in range(days)]
        self.latest: list[list[list[Any]]] = [[] for _ in range(latest)]
        self.sessions: dict[int, list[list[int]]] = {}
        self.recent: dict[int, int] = {}
        self.later: list[list[Any]] = []
        self.newest = 0
        self.forgot = 0
        self.cut: list[int] = []

    def encode(self, plan: int) -> bytes:
        """plan: what tells one set of definitions from another; a state is of no use to others."""
        return _encoder.encode(
            (
                LAYOUT, plan, self.tiles, self.whole, self.keys, self.days, self.latest, self.sessions, self.recent, self.later,
                self.newest, self.forgot, self.cut,
            )
        )  # fmt: skip

    @classmethod
    def decode(cls, content: bytes, plan: int) -> State:
        """raises: DefinitionError where the state was kept for other definitions"""
        found = _decoder.decode(content)
        if found[:2] != [LAYOUT, plan]:
            raise DefinitionError("features.other_state")
        made = cls.__new__(cls)
        (
            made.tiles, made.whole, made.keys, made.days, made.latest, made.sessions, made.recent, made.later, made.newest,
            made.forgot, made.cut,
        ) = found[2:]  # fmt: skip
        return made
