"""`huaxiang init`: look at the files, propose a mapping onto the five tables, write huaxiang.toml.

    find files (propose_files) → look (sniff) → guess (guess_*) → check against Settings → write (write_toml)

Nothing is asked: each choice is the best guess, and each doubt stands as a comment in the file beside the line it is about.
"""

from __future__ import annotations

import logging
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huaxiang.collect.guess_find import SourceGuess
from huaxiang.collect.guess_headerless import name_headerless
from huaxiang.collect.guess_map import guess_source
from huaxiang.collect.guess_names import roles_of
from huaxiang.collect.guess_shop import ShopGuess, Span, find_span, guess_outcomes, guess_shop
from huaxiang.collect.propose_files import find_groups, name_sources, path_from
from huaxiang.collect.seen import Look
from huaxiang.collect.write_toml import write_toml
from huaxiang.errors import ShopError, SourceError
from huaxiang.settings import Settings, check_settings
from huaxiang.settings.collect import SourceSettings
from huaxiang.words import Lang

log = logging.getLogger(__name__)

SETTINGS = "huaxiang.toml"


@dataclass(frozen=True)
class Proposal:
    """What `init_shop` proposes: the text of huaxiang.toml, what it says, and what was seen of each source."""

    toml: str
    settings: Settings
    sources: tuple[SourceGuess, ...]
    left_out: tuple[SourceGuess, ...]
    shop: ShopGuess
    span: Span | None
    doubt: str  # key of words/init.toml about the outcomes, or ''

    @property
    def preview(self) -> list[tuple[SourceGuess, SourceSettings]]:
        """Each source as seen, and as it will be collected; preview.show_preview renders it."""
        return list(zip(self.sources, self.settings.collect, strict=True))

    @property
    def warnings(self) -> list[tuple[str, str, dict[str, object]]]:
        """(source, key of words/init.toml, values) of every doubt."""
        doubts = [(guess.name, key, dict(values)) for guess in self.sources for key, values in guess.doubts]
        doubts += [
            (guess.name, f"left_out_{guess.lacks}", {"columns": see_columns(guess.look)}) for guess in self.left_out
        ]
        return doubts + ([("", self.doubt, dict(self.span.counts) if self.span else {})] if self.doubt else [])


def init_shop(
    folder: Path, sources: Sequence[str], *, third_party: Sequence[str] = (), lang: Lang = "en", force: bool = False
) -> Proposal:
    """Write `folder`/huaxiang.toml from a look at `sources` (paths, globs, database URLs) and give what was proposed.

    raises: SourceError for a file that cannot be read or understood; ShopError where huaxiang.toml is there and not `force`.
            Nothing is written then.
    """
    start = time.perf_counter()
    target = folder / SETTINGS
    if target.exists() and not force:
        raise ShopError("init.exists", path=target)
    if folder.exists() and not folder.is_dir():
        raise ShopError("init.not_folder", path=folder)
    proposal = propose(folder, sources, third_party=third_party, lang=lang)
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".toml.part")
    part.write_text(proposal.toml, encoding="utf-8")
    part.replace(target)
    rows = sum(guess.look.rows for guess in proposal.sources)
    log.info("init: %d sources, about %d rows, %.1f s", len(proposal.sources), rows, time.perf_counter() - start)
    return proposal


def propose(folder: Path, sources: Sequence[str], *, third_party: Sequence[str] = (), lang: Lang = "en") -> Proposal:
    """What `init_shop` would write, without writing it."""
    if not sources and not third_party:
        raise SourceError("init.no_source")
    groups = find_groups(sources, third_party)
    named = [(group, name_headerless(group.look) if not group.look.header else group.look) for group in groups]
    guesses = [guess_source(look, third_party=group.third_party) for group, look in named]
    guesses = _guess_again(guesses)
    found = [(group, guess) for group, guess in zip(groups, guesses, strict=True) if guess.tables]
    left_out = [guess for guess in guesses if not guess.tables]
    for guess in left_out:
        guess.name = guess.look.db_table or (guess.look.path.name if guess.look.path else guess.look.origin)
    if not found:
        raise _say_unknown(left_out[0], folder)
    name_sources(found)
    kept = [guess for _, guess in found]
    shop, span = guess_shop(kept, lang), find_span(kept)
    outcomes, train, doubt = guess_outcomes(kept, span)
    toml = write_toml(
        folder,
        [group for group, _ in found],
        kept,
        left_out,
        shop=shop,
        span=span,
        outcomes=outcomes,
        train=train,
        doubt=doubt,
        lang=lang,
    )
    return Proposal(toml, check_text(toml), tuple(kept), tuple(left_out), shop, span, doubt)


def check_text(toml: str) -> Settings:
    """The settings a text says, checked as `load_settings` would."""
    return check_settings(tomllib.loads(toml), Path(SETTINGS))


def _guess_again(guesses: list[SourceGuess]) -> list[SourceGuess]:
    """Files that name no user or item, tried once more with columns whose values another file's ids hold."""
    known: dict[str, set[str]] = {"user_id": set(), "item_id": set()}
    for guess in guesses:
        for table in guess.tables:
            for role in known:
                column = table.map.get(role, {}).get("column")
                if column:
                    known[role] |= {_plain_id(value) for value in guess.look.column(column).values if value}
    again = []
    for guess in guesses:
        roles = {} if guess.tables else _roles_by_values(guess.look, known)
        again.append(guess_source(guess.look, third_party=guess.third_party, roles=roles) if roles else guess)
        if roles and again[-1].tables:
            again[-1].doubts += [
                ("id_by_values", (("column", column), ("role", role))) for column, role in roles.items()
            ]
    return again


def _roles_by_values(look: Look, known: dict[str, set[str]]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for column in look.columns:
        if column.kind not in ("int", "code", "float", "email") or set(roles_of(column.name)) - {"id"}:
            continue
        values = {_plain_id(value) for value in column.values if value}
        shares = {
            role: len(values & ids) / max(len(values), 1) for role, ids in known.items() if role not in roles.values()
        }
        best = max(shares, key=lambda role: shares[role], default=None)
        if best is not None and len(values) >= 10 and shares[best] >= 0.5:
            roles[column.name] = best
    return roles


def _plain_id(value: str) -> str:
    return value.strip().removesuffix(".0")


def see_columns(look: Look) -> str:
    """The columns of a file and what they hold, for a message: `date (time), total (float)`."""
    shown = [f"{column.name} ({column.kind})" for column in look.columns[:24]]
    return ", ".join(shown) + (f" … ({len(look.columns)})" if len(look.columns) > 24 else "")


def _say_unknown(guess: SourceGuess, folder: Path) -> SourceError:
    path = guess.look.path or guess.look.origin
    return SourceError(
        f"init.no_{guess.lacks}", path=path, columns=see_columns(guess.look), from_=path_from(str(path), folder)
    )
