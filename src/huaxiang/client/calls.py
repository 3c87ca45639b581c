"""One method a route. `user` is the shop's own id or the pseudonym; errors are `ClientError` with the server's mend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from huaxiang.client.shapes import (
    Audience,
    Case,
    Decision,
    DescribedTrait,
    Event,
    Intent,
    Item,
    Key,
    Look,
    Place,
    Preview,
    Profile,
    Trait,
)
from huaxiang.client.wire import Query, Wire

PAGE = 1_000


class Client:
    """A running shop at `url` (such as http://127.0.0.1:8888), asked with an API key. May be used from several threads.

    timeout: seconds that an answer may take; lang: en or zh, of what errors say
    """

    def __init__(self, url: str, key: str, *, timeout: float = 30.0, lang: Literal["en", "zh"] = "en") -> None:
        self._wire = Wire(url, key, timeout=timeout, lang=lang)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of this thread's connection."""
        self._wire.close()

    # ---- customers -------------------------------------------------------------------------------------------------

    def profile(self, user: str, *, personal: bool = False) -> Profile:
        """One customer's profile; personal: with the vault's values (needs the scope personal)."""
        found: Profile = self._wire.get(f"/profiles/{_part(user)}", {"personal": True} if personal else None)
        return found

    def profiles(self, users: Sequence[str]) -> list[Profile | None]:
        """The profiles of many, in their order (None: no such customer)."""
        found: list[Profile | None] = []
        for begin in range(0, len(users), PAGE):
            found += self._wire.post("/lookup", {"users": list(users[begin : begin + PAGE])})["profiles"]
        return found

    def find(self, where: str = "", *, fields: Sequence[str] = (), page: int = PAGE) -> Iterator[dict[str, Any]]:
        """user_id and `fields` of everybody for whom a condition of the language of audiences holds, page by page."""
        after = ""
        while True:
            asked: Query = {"where": where, "fields": list(fields), "limit": page, "after": after}
            found = self._wire.get("/profiles", asked)
            yield from found["profiles"]
            if found["next"] is None:
                return
            after = found["next"]

    def count(self, where: str = "") -> int:
        """The customers for whom a condition holds."""
        return int(self._wire.get("/profiles", {"where": where, "limit": 1, "count": True})["count"])

    def explained(self, user: str) -> dict[str, Any]:
        """The whole document with its evidence (profile.schema.json), as of the last build."""
        found: dict[str, Any] = self._wire.get(f"/profiles/{_part(user)}/explained")
        return found

    def explain(self, user: str, trait: str) -> dict[str, Any]:
        """One trait with what it rests on: definition, events, reasons, model."""
        found: dict[str, Any] = self._wire.get(f"/profiles/{_part(user)}/explain/{_part(trait)}")["trait"]
        return found

    def events(self, user: str, *, event: str | None = None, most: int | None = None) -> Iterator[Event]:
        """What a customer did, newest first. event: of this name only; most: so many"""
        before, left = None, most
        while left is None or left > 0:
            asked: Query = {"event": event, "before": before, "limit": PAGE if left is None else min(left, PAGE)}
            found = self._wire.get(f"/profiles/{_part(user)}/events", asked)
            yield from found["events"]
            left = None if left is None else left - len(found["events"])
            before = found["next"]
            if before is None:
                return

    def recommend(self, user: str, *, place: Place = "home", items: Sequence[str] = (), count: int = 10) -> list[Item]:
        """What to show a customer at a place of the shop. items: the item looked at, or the basket"""
        asked: Query = {"place": place, "item": list(items), "count": count}
        found: list[Item] = self._wire.get(f"/profiles/{_part(user)}/recommendations", asked)["items"]
        return found

    def intent(self, user: str) -> Intent:
        """The chance that the running session ends in a purchase."""
        found: Intent = self._wire.get(f"/profiles/{_part(user)}/intent")
        return found

    def uplift(self, user: str, *, offer: str = "") -> dict[str, Any]:
        """How far a message ("": any) moves a customer."""
        found: dict[str, Any] = self._wire.get(f"/profiles/{_part(user)}/uplift", {"offer": offer})["moves"]
        return found

    def guard(self, user: str) -> Decision:
        """What the guard decided of a customer."""
        found: Decision = self._wire.get(f"/profiles/{_part(user)}/guard")
        return found

    # ---- audiences -------------------------------------------------------------------------------------------------

    def audiences(self) -> list[Audience]:
        found: list[Audience] = self._wire.get("/audiences")["audiences"]
        return found

    def members(self, audience: str) -> Iterator[str]:
        """The customers (pseudonyms) of an audience."""
        after = ""
        while True:
            found = self._wire.get(f"/audiences/{_part(audience)}/members", {"after": after})
            yield from found["users"]
            if found["next"] is None:
                return
            after = found["next"]

    def preview(self, when: str, *, sample: int = 5) -> Preview:
        """What a condition would hold for; nothing is saved."""
        found: Preview = self._wire.post("/audiences/preview", {"when": when, "sample": sample})
        return found

    # ---- the shop --------------------------------------------------------------------------------------------------

    def traits(self) -> list[DescribedTrait]:
        """The traits that this key may read."""
        found: list[DescribedTrait] = self._wire.get("/traits")["traits"]
        return found

    def queue(self, *, limit: int = 100) -> list[Case]:
        """The guard's open cases, the riskiest first."""
        found: list[Case] = self._wire.get("/guard/queue", {"limit": limit})["cases"]
        return found

    def erase(self, user: str) -> None:
        """Forgets a customer (scope admin)."""
        self._wire.delete(f"/profiles/{_part(user)}")

    def verdict(self, case: str, verdict: Literal["fraud", "fine"]) -> Case:
        """Closes a case."""
        found: Case = self._wire.post(f"/guard/cases/{_part(case)}/verdict", {"verdict": verdict})
        return found

    def quality(self) -> dict[str, Any]:
        """The quality report of the last clean."""
        found: dict[str, Any] = self._wire.get("/quality")
        return found

    def models(self) -> list[dict[str, Any]]:
        """The score cards of the last training."""
        found: list[dict[str, Any]] = self._wire.get("/models")["cards"]
        return found

    def leaderboard(self) -> dict[str, Any]:
        """What the last `compare` found."""
        found: dict[str, Any] = self._wire.get("/models/leaderboard")
        return found

    def keys(self) -> list[Key]:
        found: list[Key] = self._wire.get("/keys")["keys"]
        return found

    def audit(self, *, user: str | None = None, days: int = 30, most: int = 1_000) -> list[Look]:
        """Who looked at whom, newest first."""
        looks: list[Look] = []
        before: int | None = None
        while len(looks) < most:
            asked: Query = {"user": user, "days": days, "limit": min(most - len(looks), PAGE), "before": before}
            found = self._wire.get("/audit", asked)
            looks += found["looks"]
            before = found["next"]
            if before is None:
                break
        return looks


def trait_of(profile: Profile, name: str) -> Trait | None:
    """The trait named `name`, from whichever section has it."""
    return next((part[name] for part in profile["sections"].values() if name in part), None)


def _part(text: str) -> str:
    return quote(text, safe="")
