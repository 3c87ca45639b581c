"""huaxiang.toml as a person reads it: each source with what was seen, each column with a sample value beside it.

A sample of a personal value never reaches the file: ids, names, e-mails, phones, addresses and free text show as ‹hidden›.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from huaxiang.collect.guess_find import SourceGuess, TableGuess
from huaxiang.collect.guess_names import sounds_personal
from huaxiang.collect.guess_shop import ShopGuess, Span
from huaxiang.collect.propose_files import Group, path_from
from huaxiang.collect.sniff_values import ColumnLook
from huaxiang.tables import TABLES
from huaxiang.words import Lang, Words

HIDDEN = "‹hidden›"
_SAMPLE_WIDTH = 40


def write_toml(
    folder: Path,
    groups: Sequence[Group],
    guesses: Sequence[SourceGuess],
    left_out: Sequence[SourceGuess],
    *,
    shop: ShopGuess,
    span: Span | None,
    outcomes: Mapping[str, Mapping[str, Any]],
    train: Mapping[str, int],
    doubt: str,
    lang: Lang,
) -> str:
    """The text of huaxiang.toml."""
    say = Words(lang)
    document = tomlkit.document()
    _comment(document, say("init.toml.top"))
    document.add(tomlkit.nl())
    document.add("shop", _shop_table(folder, shop, lang, say))
    sources = tomlkit.aot()
    for group, guess in zip(groups, guesses, strict=True):
        sources.append(_source_table(folder, group, guess, shop.timezone, say))
    document.add("collect", sources)
    if train:
        table = tomlkit.table()
        _comment(table, say("init.toml.train"))
        for name, number in train.items():
            table.add(name, number)
        document.add("train", table)
    if outcomes:
        document.add("outcomes", _outcomes_table(outcomes, span, say))
    text = str(tomlkit.dumps(document)).rstrip() + "\n"
    if doubt:
        text += "\n" + _block(say("init.toml.check", doubt=say(f"init.doubt.{doubt}", **(span.counts if span else {}))))
    for guess in left_out:
        from huaxiang.collect.propose import see_columns

        why = say(f"init.doubt.left_out_{guess.lacks}", columns=_one_line(see_columns(guess.look)))
        path = path_from(str(guess.look.path or guess.look.origin), folder)
        text += "\n" + _block(
            say(
                "init.toml.left_out",
                file=guess.name,
                path=path,
                why=why,
                encoding=guess.look.encoding or "utf-8",
                timezone=shop.timezone,
            )
        )
    return text


def _shop_table(folder: Path, shop: ShopGuess, lang: Lang, say: Words) -> Table:
    table = tomlkit.table()
    table.add("name", folder.resolve().name or "My shop")
    table.add("language", lang)
    values = {name: _one_line(str(value)) for name, value in shop.values.items()}
    _comment(table, say(f"init.toml.{shop.reason}", **values))
    table.add("timezone", shop.timezone)
    table.add("currency", shop.currency)
    return table


def _source_table(folder: Path, group: Group, guess: SourceGuess, timezone: str, say: Words) -> Table:
    look = guess.look
    table = tomlkit.table()
    _comment(table, _say_seen(guess, say))
    for key, values in guess.doubts:
        shown = {name: _one_line(str(value)) for name, value in values}
        _comment(table, say("init.toml.check", doubt=say(f"init.doubt.{key}", **shown)))
    table.add("name", guess.name)
    paths = [path_from(origin, folder) for origin in group.origins]
    table.add("from", paths[0] if len(paths) == 1 else _lines(paths))
    table.add("format", look.format)
    if look.db_table:
        table.add("db_table", look.db_table)
    if look.format in ("csv", "jsonl"):
        table.add("encoding", "utf-8" if look.encoding == "ascii" else look.encoding)
    if look.format == "csv":
        table.add("delimiter", look.delimiter.strip(" ") or " ")
        if look.quote != '"':
            table.add("quote", look.quote)
        _add_header(table, guess, say)
    table.add("timezone", timezone)
    if guess.third_party:
        table.add("third_party", True)
    fed = tomlkit.aot()
    for place, feeds in enumerate(guess.tables):
        fed.append(_feeds_table(guess, feeds, say, last=place == len(guess.tables) - 1))
    table.add("to", fed)
    return table


def _add_header(table: Table, guess: SourceGuess, say: Words) -> None:
    look = guess.look
    if look.header and not look.renamed:
        if look.skip:
            table.add("skip", look.skip)
        return
    table.add("header", False)
    table.add("columns", _lines(list(look.names)) if len(look.names) > 8 else list(look.names))
    skip = look.skip + look.header
    if skip:
        table.add("skip", skip)


def _feeds_table(guess: SourceGuess, feeds: TableGuess, say: Words, *, last: bool) -> Table:
    table = tomlkit.table()
    meaning = TABLES[feeds.table]
    _comment(table, meaning.zh if say.lang == "zh" else meaning.en)
    table.add("table", feeds.table)
    if feeds.where:
        table.add("where", tomlkit.string(feeds.where, literal="'" not in feeds.where))
    if feeds.distinct:
        table.add("distinct", True)
    if feeds.extra:
        table.add("extra", _lines(feeds.extra) if len(feeds.extra) > 6 else feeds.extra)
    mapping = tomlkit.table()
    for name, origin in feeds.map.items():
        mapping.add(name, _origin(origin))
        note = sample_of(guess, feeds.table, name, origin)
        if note:
            mapping[name].comment(say("init.toml.such_as", sample=note))
    if last and guess.unmapped:
        _comment(mapping, say("init.toml.unmapped", columns=", ".join(_one_line(name) for name in guess.unmapped)))
    table.add("map", mapping)
    return table


def _origin(origin: Mapping[str, Any]) -> Any:
    """A bare name where that says all; else an inline table."""
    if set(origin) == {"column"}:
        return tomlkit.item(origin["column"])
    return _inline(origin)


def _inline(values: Mapping[str, Any]) -> InlineTable:
    table = tomlkit.inline_table()
    for name, value in values.items():
        table.add(name, _inline(value) if isinstance(value, Mapping) else value)
    return table


def sample_of(guess: SourceGuess, table: str, name: str, origin: Mapping[str, Any]) -> str:
    """The most frequent value of a mapped column, or ‹hidden› where it may say who someone is; '' for a constant."""
    columns = [origin["column"]] if "column" in origin else list(origin.get("columns", ()))
    if not columns:
        return ""
    if hides(guess, table, name, columns):
        return HIDDEN
    looks = [guess.look.column(column) for column in columns]
    return origin.get("join", " > ").join(_usual(look) for look in looks)


def hides(guess: SourceGuess, table: str, name: str, columns: Sequence[str]) -> bool:
    """Whether the values of a contract column are not to be shown."""
    contract = TABLES[table].column(name)
    assert contract is not None
    private = (
        contract.personal
        or contract.pseudonym
        or name == "text"
        or (table == "events" and name in ("session_id", "event_id"))
    )
    looks = [guess.look.column(column) for column in columns]
    told = any(look.kind in ("email", "phone", "id_number") for look in looks)
    odd = table != "items" and any(sounds_personal(look.name) for look in looks)
    # the same source column may feed a user id elsewhere
    shared = {
        origin.get("column")
        for feeds in guess.tables
        for key, origin in feeds.map.items()
        if _is_private(feeds.table, key)
    }
    return private or told or odd or bool(shared & set(columns))


def _is_private(table: str, name: str) -> bool:
    contract = TABLES[table].column(name)
    return contract is not None and (contract.personal or contract.pseudonym)


def _usual(column: ColumnLook) -> str:
    known = next((value for value in column.values if value), "")
    return _one_line(known if column.is_time or not column.top else column.top[0][0])[:_SAMPLE_WIDTH]


def _say_seen(guess: SourceGuess, say: Words) -> str:
    look = guess.look
    rows = f"{look.rows:,}" if look.rows_exact else f"≈ {look.rows:,}"
    parts = [say("init.toml.rows", rows=rows)]
    if look.format == "csv":
        header = "header" if look.header else "no_header"
        parts += ["ASCII" if look.encoding == "ascii" else look.encoding, say(f"init.toml.{header}")]
    if look.gzipped:
        parts.append("gzip")
    return " · ".join((look.format.upper(), *parts))


def _outcomes_table(outcomes: Mapping[str, Mapping[str, Any]], span: Span | None, say: Words) -> Table:
    table = tomlkit.table(is_super_table=True)
    for place, (name, outcome) in enumerate(outcomes.items()):
        one = tomlkit.table()
        if place == 0 and span is not None and "within" in outcome:
            _comment(one, say("init.toml.span", first=_day(span.first), last=_day(span.last), days=span.days))
        _comment(one, say("init.toml.outcome_" + ("attribute" if "attribute" in outcome else "future")))
        for key, value in outcome.items():
            one.add(key, value)
        table.add(name, one)
    return table


def _day(time: datetime) -> str:
    return time.strftime("%Y-%m-%d")


def _lines(values: Sequence[str]) -> Any:
    array = tomlkit.array()
    array.extend(values)
    return array.multiline(True)


def _comment(container: Any, text: str) -> None:
    for line in text.splitlines():
        container.add(tomlkit.comment(line) if line else tomlkit.nl())


def _block(text: str) -> str:
    return "".join(f"# {line}\n" if line else "#\n" for line in text.splitlines())


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
