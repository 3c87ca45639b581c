"""A source file into a staged table of text: the columns the mapping reads, the file's number, and the row's hash.

The hash is over every column of the row (salted with a secret of the key), so that a row is known again in a grown file.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from huaxiang.collect.files import Text, nameless_file, open_text, path_of
from huaxiang.collect.sieve import KEPT, Reject, sieve_csv
from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.errors import SourceError
from huaxiang.progress import Advance
from huaxiang.settings import SourceSettings
from huaxiang.trust import trimmed

MOST_COLUMNS = 5_000
HEADER_BYTES = 1 << 22
REJECTED_SHARE = 0.5  # more lines than this that are no rows: the description is wrong, not the lines
_MANY = 10


@dataclass
class Stage:
    """The staged table `name`: one column `c0`, `c1` … for each of `used`, `_file` (number) and `_hash`."""

    engine: Engine
    name: str
    used: Sequence[str]
    salt: str
    temp: Path
    rejects: dict[int, list[Reject]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        return {name: f"c{number}" for number, name in enumerate(self.used)}

    def create(self) -> None:
        columns = "".join(f"c{number} VARCHAR, " for number in range(len(self.used)))
        self.engine.run(f"CREATE TABLE {self.name} ({columns}_file INTEGER, _hash VARCHAR)")

    def insert(self, number: int, values: Sequence[str], row: str, relation: str) -> str | None:
        """Stage the rows of `relation` as file `number`; gives what DuckDB says is wrong with them (None: nothing)."""
        hashed = f"to_base64(unhex(md5(concat({quote(self.salt)}, {row}))[:18]))"
        texts = "".join(f"{value} AS v{place}, " for place, value in enumerate(values))
        columns = "".join(f"{trimmed(f'v{place}')}, " for place in range(len(values)))
        return self.engine.attempt(
            f"INSERT INTO {self.name} SELECT {columns}{number}, _hash FROM (SELECT {texts}{hashed} AS _hash FROM {relation})"
        )

    def rows(self, number: int) -> int:
        return int(self.engine.value(f"SELECT count(*) FROM {self.name} WHERE _file = {number}"))


def stage_file(stage: Stage, number: int, path: Path, source: SourceSettings, advance: Advance) -> int:
    """Stage one file; gives the lines read (rows and rejects). Raises SourceError for what is not as described."""
    stage.rejects[number] = []
    if source.format == "parquet":
        _stage_parquet(stage, number, path, source)
    else:
        with open_text(path, source, stage.temp, advance) as text:
            stage.rejects[number] += [Reject(one.line, "encoding", one.text[:KEPT]) for one in text.foreign]
            if source.format == "jsonl":
                _stage_json(stage, number, path, text, source)
            else:
                _stage_csv(stage, number, path, text, source)
    rows, rejects = stage.rows(number), stage.rejects[number]
    if (len(rejects) > _MANY and len(rejects) > REJECTED_SHARE * (rows + len(rejects))) or (rejects and not rows):
        raise SourceError(
            "collect.no_rows_fit", path=path, rejected=len(rejects), line=rejects[0].line, source=source.name
        )
    return rows + len(rejects)


# ---- CSV ---------------------------------------------------------------------------------------------------------


def _stage_csv(stage: Stage, number: int, path: Path, text: Text, source: SourceSettings) -> None:
    names, skip = read_header(text.path, path, source)
    places = {name: f"k{place}" for place, name in enumerate(names)}
    check_columns(stage.used, names, path, source)
    values = [places[name] for name in stage.used]
    row = ", chr(31), ".join(places.values())  # concat skips NULLs; the marks between keep columns apart
    if not text.ragged and stage.insert(number, values, row, _read_csv(text.path, len(names), source, skip)) is None:
        return
    with nameless_file(_made(stage.temp)) as clean:
        with Path(text.path).open("rb") as dirty:
            stage.rejects[number] += _sieved(text, sieve_csv(dirty, clean, len(names), source.delimiter, source.quote, skip))  # fmt: skip
        clean.flush()
        wrong = stage.insert(number, values, row, _read_csv(path_of(clean), len(names), source, 0))
    if wrong is not None:  # not shown: DuckDB's message holds the line itself
        raise SourceError("collect.unreadable", path=path, source=source.name)


def _sieved(text: Text, rejects: Iterable[Reject]) -> list[Reject]:
    """The rejects with the numbers of their lines in the file itself."""
    return [replace(one, line=text.line(one.line)) for one in rejects] if text.foreign else list(rejects)


def _read_csv(path: str, columns: int, source: SourceSettings, skip: int) -> str:
    typed = ", ".join(f"k{place}: 'VARCHAR'" for place in range(columns))
    return (
        f"read_csv({quote(path)}, columns = {{{typed}}}, auto_detect = false, header = false, skip = {skip}, "
        f"delim = {quote(source.delimiter)}, quote = {quote(source.quote)}, escape = {quote(source.quote)})"
    )


def read_header(text: str, path: Path, source: SourceSettings) -> tuple[list[str], int]:
    """The columns' names, and how many lines stand before the first row; raises SourceError for names that cannot serve."""
    with Path(text).open("rb") as file:
        for _ in range(source.skip):
            file.readline(HEADER_BYTES)
        line = file.readline(HEADER_BYTES)
        wide = line.count(source.delimiter.encode()) + 1
        if wide > MOST_COLUMNS:
            raise SourceError("collect.too_wide", path=path, columns=wide, most=MOST_COLUMNS)
        lines = 1
        while (
            source.quote
            and line.count(source.quote.encode()) % 2
            and lines < 20
            and (more := file.readline(HEADER_BYTES))
        ):
            line += more
            lines += 1
    if b"\r" in line and not line.rstrip(b"\n").endswith(b"\r"):
        line = line.split(b"\r", 1)[0]  # line ends of the old Mac
    decoded = line.decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")
    how = {"quotechar": source.quote} if source.quote else {"quoting": csv.QUOTE_NONE}
    cells = next(csv.reader(io.StringIO(decoded, newline=""), delimiter=source.delimiter, **how), [])
    if not source.header:
        named = list(source.columns) or [f"column_{place}" for place in range(1, len(cells) + 1)]
        if cells and len(named) != len(cells):
            raise SourceError("collect.column_count", path=path, found=len(cells), said=len(named), source=source.name)
        return named, source.skip
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells, 1)]
    if source.columns:
        if len(source.columns) != len(names):
            raise SourceError(
                "collect.column_count", path=path, found=len(names), said=len(source.columns), source=source.name
            )
        names = list(source.columns)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError("collect.twice", path=path, name=twice, source=source.name)
    return names, source.skip + lines


def check_columns(used: Sequence[str], names: Sequence[str], path: Path | str, source: SourceSettings) -> None:
    """Raises SourceError for the first column the mapping names that is not there, with the nearest that is."""
    for name in used:
        if name not in names:
            near = difflib.get_close_matches(name.lower(), {other.lower(): other for other in names}, n=1, cutoff=0.5)
            found = next((other for other in names if near and other.lower() == near[0]), "")
            key = "collect.no_column_near" if found else "collect.no_column"
            raise SourceError(key, path=path, name=name, near=found, have=", ".join(names[:40]), source=source.name)


# ---- JSON lines --------------------------------------------------------------------------------------------------


def _stage_json(stage: Stage, number: int, path: Path, text: Text, source: SourceSettings) -> None:
    lines = SourceSettings.model_validate(
        {"name": source.name, "from": "-", "delimiter": "\x01", "quote": "", "to": ()}
    )
    with Path(text.path).open("rb") as file:
        start = file.read(1 << 12).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        objects = f"(SELECT json::VARCHAR AS k0 FROM read_json_objects({quote(text.path)}, format = 'array', maximum_object_size = 67108864))"
        if stage.engine.attempt(f"SELECT count(*) FROM {objects}") is not None:
            raise SourceError("collect.not_json", path=path, source=source.name)
        _insert_json(stage, number, path, objects, source)
        return
    plain = f"(SELECT k0 FROM {_read_csv(text.path, 1, lines, source.skip)} WHERE trim(k0) <> '')"
    if not text.ragged and stage.engine.attempt(f"SELECT count(k0) FROM {plain}") is None:
        _insert_json(stage, number, path, plain, source)
        _reject_json(stage, number, plain, text.path)
        return
    with nameless_file(_made(stage.temp)) as clean:
        with Path(text.path).open("rb") as dirty:
            stage.rejects[number] += _sieved(text, sieve_csv(dirty, clean, 1, "\x01", "", source.skip))
        clean.flush()
        sieved = f"(SELECT k0 FROM {_read_csv(path_of(clean), 1, lines, 0)} WHERE trim(k0) <> '')"
        _insert_json(stage, number, path, sieved, source)
        _reject_json(stage, number, sieved, text.path)


_OBJECT = "coalesce(CASE WHEN json_valid(k0) THEN json_type(k0) = 'OBJECT' END, false)"


def _insert_json(stage: Stage, number: int, path: Path, relation: str, source: SourceSettings) -> None:
    objects = f"(SELECT k0 FROM {relation} WHERE {_OBJECT})"
    for name in stage.used:
        if not stage.engine.rows(f"SELECT 1 FROM {objects} WHERE {_field(name)} IS NOT NULL LIMIT 1"):
            seen = [row["k0"] for row in stage.engine.rows(f"SELECT k0 FROM {objects} LIMIT 1000")]
            names = list(dict.fromkeys(name for line in seen for name in _flat_names(json.loads(line))))
            if seen and name not in names:
                check_columns([name], names, path, source)
    stage.insert(number, [_field(name) for name in stage.used], "k0", objects)


def _field(name: str) -> str:
    """`a.b` of a JSON object: the field b of a, or a field of that whole name; a number picks from a list."""
    plain = quote(f'$."{name}"')
    if "." not in name:
        return f"json_extract_string(k0, {plain})"
    path = "$" + "".join(f"[{part}]" if part.isdigit() else f'."{part}"' for part in name.split("."))
    return f"coalesce(json_extract_string(k0, {quote(path)}), json_extract_string(k0, {plain}))"


def _flat_names(value: object, before: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _flat_names(below, f"{before}.{name}" if before else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _flat_names(value[0], f"{before}.0")
        yield before
    elif before:
        yield before


def _reject_json(stage: Stage, number: int, relation: str, text: str) -> None:
    """Find the line numbers of lines that are no JSON objects (a second look, only where there are any)."""
    bad = {row["k0"]: None for row in stage.engine.rows(f"SELECT k0 FROM {relation} WHERE NOT {_OBJECT} LIMIT 100000")}
    if not bad:
        return
    with Path(text).open("rb") as file:
        for place, line in enumerate(file, 1):
            said = line.decode("utf-8", "replace").rstrip("\r\n").lstrip("\ufeff")
            if said in bad:
                stage.rejects[number].append(Reject(place, "not_json", said[:KEPT]))


# ---- Parquet -----------------------------------------------------------------------------------------------------


def _stage_parquet(stage: Stage, number: int, path: Path, source: SourceSettings) -> None:
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            raise SourceError("collect.not_parquet", path=path, source=source.name)
    relation = f"read_parquet({quote(str(path))})"
    if stage.engine.attempt(f"SELECT * FROM {relation} LIMIT 1") is not None:
        raise SourceError("collect.parquet_damaged", path=path)
    if stage_relation(stage, number, relation, path, source) is not None:
        raise SourceError("collect.parquet_damaged", path=path)


def stage_relation(stage: Stage, number: int, relation: str, path: Path | str, source: SourceSettings) -> str | None:
    """Stage a typed relation (Parquet, a database's result) as text; gives what is wrong with its data (None: nothing)."""
    import pyarrow as pa

    fields: dict[str, str] = {}

    def add(name: str, sql: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind):
            for below in kind:
                add(
                    f"{name}.{below.name}", f'{sql}["{below.name}"]'.replace('["', "['").replace('"]', "']"), below.type
                )
        elif pa.types.is_nested(kind):
            fields[name] = f"CAST(to_json({sql}) AS VARCHAR)"
        else:
            fields[name] = f"CAST({sql} AS VARCHAR)"

    for column in stage.engine.schema(f"SELECT * FROM {relation}"):
        add(column.name, '"' + column.name.replace('"', '""') + '"', column.type)
    check_columns(stage.used, list(fields), path, source)
    row = ", chr(31), ".join(fields.values())
    return stage.insert(number, [fields[name] for name in stage.used], row, relation)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
