"""What the API's routes share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from huaxiang.engine.lake import MANIFEST
from huaxiang.errors import UnknownUserError
from huaxiang.serve.api.audit import MIGRATIONS, PART, Look
from huaxiang.serve.api.desk import Desk
from huaxiang.serve.api.documents import Catalogue
from huaxiang.serve.api.gather import Gathered, Once
from huaxiang.serve.api.kept import Audit
from huaxiang.serve.api.keys import Key, Keys
from huaxiang.serve.api.metrics import Counted
from huaxiang.serve.api.problems import ApiError
from huaxiang.serve.api.roles import Group, groups_of
from huaxiang.serve.profiles import Profiles, Row, is_pseudonym, stamp_of
from huaxiang.serve.sessions import Sessions
from huaxiang.shop import Shop
from huaxiang.shop.opened import SETTINGS
from huaxiang.store import Database, migrate, open_database
from huaxiang.trust import Pseudonyms
from huaxiang.words import Lang

if TYPE_CHECKING:
    from huaxiang.serve.open import Running

AUDIT = "live/audit.db"


@dataclass(slots=True)
class Caller:
    """Who asks, and what they look at."""

    key: Key
    look: Look
    groups: frozenset[Group]
    lang: Lang = "en"

    def need(self, scopes: Sequence[str]) -> None:
        """Notes which scope the answer rests on; raises ApiError (403) where the key has none of them."""
        for scope in scopes:
            if scope in self.key.scopes:
                self.look.scope = scope
                return
        raise ApiError("serve.api_scope", needs=" | ".join(scopes), name=self.key.name)

    def need_personal(self) -> None:
        if "personal" not in self.key.scopes:
            raise ApiError("serve.api_personal", name=self.key.name)
        self.look.personal = True


@dataclass
class Rooms:
    """The parts of a running shop that the API reads."""

    running: Running
    keys: Keys
    audit: Audit
    profiles: Profiles
    desk: Desk
    pseudonyms: Pseudonyms
    sessions: Sessions
    counted: Counted = field(default_factory=Counted)

    def __post_init__(self) -> None:
        shop, desk = self.running.shop, self.desk
        manifest, settings = str(shop.lake.folder / MANIFEST), str(shop.folder / SETTINGS)
        self._rows = Gathered(desk, self.profiles)
        self._catalogue = Once(
            lambda: desk.ask(lambda mine: Catalogue.of(mine.lake, mine.settings)),
            lambda: (stamp_of(manifest), stamp_of(settings)),
        )

    def caller(self, key: Key, what: str, lang: Lang) -> Caller:
        return Caller(key, Look(key.name, what), groups_of(key.scopes), lang)

    async def catalogue(self) -> Catalogue:
        """The traits of the shop as it is now; raises ShopError where there are no profiles yet."""
        return await self._catalogue.get()

    async def row(self, user: str, look: Look) -> Row:
        """The profile of the customer that `user` names: the shop's own id first, then the pseudonym; raises UnknownUserError."""
        asked = self.names(user)
        look.users = asked[:1]
        for one in asked:
            if (found := self.profiles.peek(one)) is not None:
                break
        else:
            read = await self._rows.read(asked)
            found = next((read[one] for one in asked if one in read), None)
        if found is None:
            raise UnknownUserError("profile.unknown_user")
        look.users, look.count = [found["user_id"]], 1
        return found

    async def rows(self, users: Sequence[str], look: Look) -> list[Row | None]:
        """As `row`, of many, in their order."""
        asked = [self.names(user) for user in users]
        every = [one for names in asked for one in names]
        found = await self.desk.run(lambda: self.profiles.many(every))
        rows = [next((found[one] for one in names if one in found), None) for names in asked]
        look.users = [row["user_id"] if row is not None else names[0] for row, names in zip(rows, asked, strict=True)]
        look.count = sum(row is not None for row in rows)
        return rows

    def names(self, user: str) -> list[str]:
        """The pseudonyms that what a client typed may mean."""
        own = self.pseudonyms.of(user)
        return [own, user] if is_pseudonym(user) and user != own else [own]


@contextmanager
def open_audit_store(shop: Shop) -> Iterator[Database]:
    """Where the audit is kept: with a SQLite store in a file of its own, so that neither waits for the other.

    Not durable: a power cut may cost the audit of the last moments; a fsync for each answer would cost each answer milliseconds.
    """
    where = shop.settings.live.store
    database = open_database(where) if "://" in where else open_database(shop.folder / AUDIT, durable=False)
    try:
        migrate(database, PART, MIGRATIONS)
        yield database
    finally:
        database.close()


@contextmanager
def open_rooms(running: Running, profiles: Profiles) -> Iterator[Rooms]:
    """Everything the API needs, opened."""
    shop, keys = running.shop, Keys(running.store)
    with open_audit_store(shop) as database:
        file = shop.folder / AUDIT if database.kind == "sqlite" else None
        audit = Audit(database, keep_days=shop.settings.live.keep_audit_days, keys=keys, file=file)
        desk = Desk(shop.folder)
        keys.watch()
        try:
            yield Rooms(running, keys, audit, profiles, desk, shop.pseudonyms(create=True), running.sessions)
        finally:
            desk.close()
            audit.close()
            keys.close()
