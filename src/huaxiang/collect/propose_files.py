"""The files and tables that `--from` names: globs opened, same shapes put together, sources named."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huaxiang.collect.guess_find import SourceGuess
from huaxiang.collect.propose_databases import is_url, look_at_database, pin_url
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff import look_at_file, merge_looks, same_shape
from huaxiang.collect.sniff_bytes import missing_file
from huaxiang.errors import SourceError


@dataclass(frozen=True)
class Group:
    """Files of one shape, or one database table: what becomes one source. `origins`: as the person gave them."""

    look: Look
    origins: tuple[str, ...]
    third_party: bool


def find_groups(sources: Sequence[str], third_party: Sequence[str]) -> list[Group]:
    """What the arguments name, looked at, files of one shape together; raises SourceError for the first that cannot be read."""
    groups: list[Group] = []
    seen: set[Path] = set()
    for foreign, given in ((False, sources), (True, third_party)):
        looks: list[list[Look]] = []
        for origin in given:
            for look in _look_at(origin, seen):
                mates = next(
                    (mates for mates in looks if same_shape(mates[0], look) and _same_kinds(mates[0], look)), None
                )
                if mates is None:
                    looks.append([look])
                else:
                    mates.append(look)
        groups += [Group(merge_looks(mates), _origins(mates), foreign) for mates in looks]
    return groups


def _look_at(origin: str, seen: set[Path]) -> list[Look]:
    if is_url(origin):
        return look_at_database(origin)
    looks = []
    for path in _expand(origin):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        with_name = origin if glob.has_magic(origin) and not Path(origin).exists() else str(path)
        try:
            looks.append(look_at_file(path, with_name))
        except SourceError as error:
            if error.key != "init.database_file":
                raise
            looks += look_at_database(f"{error.values['kind']}:///{path}")
    return looks


def _expand(origin: str) -> list[Path]:
    path = Path(origin).expanduser()
    if path.exists() or not glob.has_magic(origin):
        if not path.exists():
            raise missing_file(path)
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise SourceError("init.glob_empty", pattern=origin)
    return found


def _same_kinds(one: Look, other: Look) -> bool:
    return one.header or [column.kind for column in one.columns] == [column.kind for column in other.columns]


def _origins(mates: Sequence[Look]) -> tuple[str, ...]:
    """The glob where it named exactly these files; else each file."""
    given = {look.origin for look in mates}
    if len(given) == 1 and glob.has_magic(origin := next(iter(given))) and len(mates) == len(_expand(origin)):
        return (origin,)
    return tuple(str(look.path) if look.path else look.origin for look in mates)


def name_sources(found: Sequence[tuple[Group, SourceGuess]]) -> None:
    """Give each source a short name of its own, from what its files' names share."""
    taken: set[str] = set()
    for group, guess in found:
        stems = [_stem(Path(origin).name) for origin in group.origins]
        base = guess.look.db_table or _shared_start(stems)
        plain = re.sub(r"[\W\d]+$", "", re.sub(r"[*?\[].*", "", base)) if len(stems) > 1 or "*" in base else base
        name = re.sub(r"[^\w]+", "_", plain or stems[0]).strip("_").lower() or guess.tables[0].table
        number = 2
        while name in taken:
            name, number = f"{re.sub(r'_[0-9]+$', '', name)}_{number}", number + 1
        taken.add(name)
        guess.name = name


def _shared_start(names: Sequence[str]) -> str:
    """The letters all names begin with."""
    first, last = min(names), max(names)
    return first[: next((place for place, letter in enumerate(first) if last[place : place + 1] != letter), len(first))]


def _stem(name: str) -> str:
    return re.sub(r"\.(gz|csv|tsv|txt|jsonl|ndjson|json|parquet|pq|dat)(?=\.|$)", "", name)


def path_from(origin: str, folder: Path) -> str:
    """`origin` as huaxiang.toml should hold it: relative to the shop where it is inside or beside it, else absolute."""
    if is_url(origin):
        return pin_url(origin)
    path = _without_ups(Path(origin).expanduser().absolute())  # not resolved: a link stays the name the person knows
    relative = Path(os.path.relpath(path, folder.absolute()))
    return (relative if relative.parts.count("..") <= 1 else path).as_posix()


def _without_ups(path: Path) -> Path:
    """`path` without `x/..`, except where x is a link that leads elsewhere."""
    if ".." not in path.parts:
        return path
    last = len(path.parts) - path.parts[::-1].index("..")
    head, plain = Path(*path.parts[:last]), Path(os.path.normpath(path))
    short = Path(os.path.normpath(head))
    return plain if head.exists() and short.exists() and head.samefile(short) else path
