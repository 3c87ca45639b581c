"""What messages say of people that goes to the vault: personal values, and the shop's own ids of customers met for the first time, by which
they are told of outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from huaxiang.serve.map import Person
from huaxiang.trust import Vault
from huaxiang.trust.pseudonyms import canonical_text


class Personal:
    """Writes to `vault`."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._met: set[str] = set()  # users whose id is there

    def keep(self, people: Sequence[Person]) -> None:
        """The personal values of people."""
        fields = sorted({name for person in people for name in person.personal})
        for name in fields:
            having = [(person.user_id, person.personal[name]) for person in people if name in person.personal]
            self._vault.put_many([user for user, _ in having], name, [value for _, value in having])

    def keep_ids(self, ids: Iterable[tuple[str, str]], counts: Callable[[str], bool]) -> None:
        """The own ids of users met for the first time. ids: pseudonym, id; counts: whether a user may be kept"""
        new = {user: own for user, own in ids if user not in self._met and counts(user)}
        self._vault.put_many(list(new), "shop_id", [canonical_text(own) for own in new.values()], replace=False)
        self._met.update(new)

    def erase(self, user: str) -> None:
        """Everything of a user."""
        self._vault.erase(user)
        self._met.discard(user)
