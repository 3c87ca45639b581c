"""Finding a customer by what a person types: the shop's own id, or the pseudonym."""

from __future__ import annotations

from typing import TYPE_CHECKING

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError, UnknownUserError

if TYPE_CHECKING:
    from huaxiang.trust import Pseudonyms


def find_user(lake: Lake, pseudonyms: Pseudonyms, text: str, *, among: str = "profiles") -> str:
    """The pseudonym of the customer that `text` names; raises UnknownUserError, which does not repeat it.

    among: the table whose customers are meant

    The shop's own id goes first; an id joined into another customer is found through identity's links.
    """
    if not lake.has(among):
        raise ShopError("lake.no_table", name=among, have=", ".join(lake.names()) or "-")
    typed = text.strip()
    candidates = [pseudonyms.of(typed), typed] if typed else []
    for candidate in candidates:
        if _has(lake, among, candidate):
            return candidate
    for candidate in candidates:
        joined = _joined(lake, candidate)
        if joined is not None and _has(lake, among, joined):
            return joined
    raise UnknownUserError("profile.unknown_user")


def _has(lake: Lake, among: str, user_id: str) -> bool:
    sql = lake.engine.sql(lake.table(among))
    return bool(lake.engine.value(f"SELECT count(*) FROM ({sql}) WHERE user_id = {quote(user_id)}"))


def _joined(lake: Lake, anonymous_id: str) -> str | None:
    """The customer a visitor turned out to be, if any."""
    if not lake.rows("identity.links"):
        return None
    sql = lake.engine.sql(lake.table("identity.links"))
    found = lake.engine.value(f"SELECT max_by(user_id, since) FROM ({sql}) WHERE anonymous_id = {quote(anonymous_id)}")
    return None if found is None else str(found)
