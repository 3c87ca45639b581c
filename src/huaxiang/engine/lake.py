"""The lake: Delta tables in a folder, and a manifest that says which version of each is the shop's.

A step of the journey writes several tables and becomes visible all at once, when the manifest is replaced (one atomic
rename). A step that fails or is killed leaves the manifest, and so the shop, as it was; what it had written is undone before
the next write. Readers in other processes follow the manifest and never see half a step.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from huaxiang.engine.duck import Engine, Query
from huaxiang.errors import ShopError

MANIFEST = "manifest.json"
VOID = "_void"


@dataclass(frozen=True)
class Entry:
    """A table as the manifest knows it."""

    version: int
    rows: int


@dataclass
class Manifest:
    tables: dict[str, Entry] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)


class Lake:
    """The tables of one shop. Names are dotted (`raw.events`) and become folders (`raw/events`)."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder.resolve()  # Delta names files by absolute path
        self.engine = engine
        self._views: dict[tuple[str, int, int], ibis.Table] = {}

    def manifest(self) -> Manifest:
        """What the shop holds now, read afresh."""
        path = self.folder / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return Manifest({name: Entry(**entry) for name, entry in found["tables"].items()}, found["steps"])
        except FileNotFoundError:
            return Manifest()
        except (ValueError, KeyError, TypeError) as error:
            raise ShopError("lake.manifest_damaged", path=path) from error

    def stamp(self) -> tuple[int, ...]:
        """Another one whenever the manifest has been replaced since: cheap to ask for."""
        try:
            found = (self.folder / MANIFEST).stat()
        except FileNotFoundError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def has(self, name: str) -> bool:
        return name in self.manifest().tables

    def names(self) -> list[str]:
        return sorted(self.manifest().tables)

    def rows(self, name: str) -> int:
        """Rows of a table by the manifest (0 where it does not exist)."""
        entry = self.manifest().tables.get(name)
        return entry.rows if entry else 0

    def note(self, step: str) -> dict[str, Any]:
        """What the last finished run of `step` noted ({} where it never ran)."""
        return self.manifest().steps.get(step, {})

    def table(self, name: str) -> ibis.Table:
        """The table as the manifest has it; raises ShopError("lake.no_table") where no step has written it."""
        tables = self.manifest().tables
        entry = tables.get(name)
        if entry is None:
            raise ShopError("lake.no_table", name=name, have=", ".join(self.names()) or "-")
        return self._at(name, entry, tables.get(f"{name}{VOID}"))

    def files(self, name: str) -> list[Path]:
        """The Parquet files of the table as the manifest has it."""
        entry = self.manifest().tables[name]
        return self._files(name, entry.version)

    def _files(self, name: str, version: int) -> list[Path]:
        folder = self._folder(name)
        # By name: in the URI a space or a Chinese character of the folder is an escape such as %20.
        return [folder / Path(uri).name for uri in sorted(self._delta(name, version).file_uris())]

    def _delta(self, name: str, version: int) -> DeltaTable:
        """raises: ShopError where the files are gone"""
        try:
            return DeltaTable(self._folder(name), version=version)
        except TableNotFoundError as error:
            raise ShopError("lake.lost", names=name, folder=self.folder) from error

    def lost(self) -> list[str]:
        """The tables that the manifest names and of which files are gone: somebody deleted them."""
        return [name for name, entry in sorted(self.manifest().tables.items()) if not self._is_whole(name, entry)]

    def _is_whole(self, name: str, entry: Entry) -> bool:
        there = DeltaTable.is_deltatable(str(self._folder(name)))
        return there and all(path.exists() for path in self._files(name, entry.version))

    def _at(self, name: str, entry: Entry, void: Entry | None = None) -> ibis.Table:
        """The table at `entry` without the rows that its companion at `void` names."""
        if void is not None and void.rows:
            key = (name, entry.version, void.version)
            if key not in self._views:
                rows, gone = self._at(name, entry), self._at(f"{name}{VOID}", void)
                self._views[key] = self.engine.view(
                    f"SELECT * FROM ({self.engine.sql(rows)}) ANTI JOIN ({self.engine.sql(gone)}) USING ({', '.join(gone.columns)})"
                )
            return self._views[key]
        if (name, entry.version, -1) not in self._views:
            schema = pa.schema(self._delta(name, entry.version).schema().to_arrow())
            files = self._files(name, entry.version)
            if not all(path.exists() for path in files):
                raise ShopError("lake.lost", names=name, folder=self.folder)
            self._views[name, entry.version, -1] = self.engine.parquet(files, schema)
        return self._views[name, entry.version, -1]

    def _folder(self, name: str) -> Path:
        return self.folder.joinpath(*name.split("."))

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """One step of the journey: everything written inside becomes visible at the end, or not at all."""
        # The engine makes only the last folder of the path it spills to.
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        with self._lock():
            step = Step(self, name)
            start = time.perf_counter()
            yield step
            step.note["seconds"] = round(time.perf_counter() - start, 3)
            self._finish(step)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.folder / ".lock").open("a") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    raise ShopError("lake.busy", folder=self.folder.parent) from error
                raise
            yield

    def _finish(self, step: Step) -> None:
        manifest = self.manifest()
        before = dict(manifest.tables)
        manifest.tables.update(step.written)
        for name in step.dropped:
            manifest.tables.pop(name, None)
        manifest.steps[step.name] = step.note | {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")}
        content = {
            "tables": {name: vars(entry) for name, entry in sorted(manifest.tables.items())},
            "steps": manifest.steps,
        }
        write_atomically(self.folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False))
        for name, entry in step.written.items():
            self._sweep(name, entry.version, before.get(name))

    def _sweep(self, name: str, version: int, before: Entry | None) -> None:
        """Delete files that neither this version nor the one before it (still open in other processes) names."""
        keep = {path.name for path in self._files(name, version)}
        if before is not None and before.version < version:  # else it was lost, and is made anew
            keep |= {path.name for path in self._files(name, before.version)}
        for path in self._folder(name).glob("*.parquet"):
            if path.name not in keep:
                path.unlink()


class Step:
    """The writes of one step, invisible to others until it ends; `note` is kept in the manifest."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.lake = lake
        self.name = name
        self.note: dict[str, Any] = {}
        self.written: dict[str, Entry] = {}
        self.dropped: set[str] = set()
        self._before = lake.manifest()

    def table(self, name: str) -> ibis.Table:
        """A table as this step sees it: its own writes first."""
        if name in self.written or f"{name}{VOID}" in self.written:
            entry = self.written.get(name) or self._before.tables[name]
            return self.lake._at(
                name, entry, self.written.get(f"{name}{VOID}") or self._before.tables.get(f"{name}{VOID}")
            )
        return self.lake.table(name)

    def files(self, name: str) -> list[Path]:
        """The Parquet files of a table as this step sees it."""
        if name in self.written:
            return self.lake._files(name, self.written[name].version)
        return self.lake.files(name)

    def has(self, name: str) -> bool:
        return name in self.written or (name in self._before.tables and name not in self.dropped)

    def rows(self, name: str) -> int:
        entry = self.written.get(name) or self._before.tables.get(name)
        return entry.rows if entry else 0

    def replace(self, name: str, data: Query | pa.Table) -> int:
        """Make `data` the whole content of table `name`; gives its rows."""
        return self._write(name, data, keep=False)

    def append(self, name: str, data: Query | pa.Table, *, once: tuple[str, int] | None = None) -> int:
        """Add `data` to table `name` (made if new); gives the rows added.

        once: who writes and the number of what is written, kept with it as Delta's application transaction
        """
        return self._write(name, data, keep=True, once=once)

    def drop(self, name: str) -> None:
        self.dropped.add(name)
        self.written.pop(name, None)

    def _write(self, name: str, data: Query | pa.Table, *, keep: bool, once: tuple[str, int] | None = None) -> int:
        engine, folder = self.lake.engine, self.lake._folder(name)
        loaded = engine.load(data) if isinstance(data, pa.Table) else None
        query: Query = loaded if loaded is not None else data
        schema = engine.schema(query)
        files = engine.write(query, folder)
        if loaded is not None:
            engine.drop(loaded)
        return self._commit(name, files, schema, keep=keep, once=once)

    def adopt(self, name: str, folder: Path) -> int:
        """Make the Parquet files in `folder`, which must lie on the lake's file system, the content of table `name`; gives its rows."""
        home = self.lake._folder(name)
        home.mkdir(parents=True, exist_ok=True)
        files, schema = [], None
        for path in sorted(folder.glob("*.parquet")):
            found = pq.read_metadata(path)
            schema = schema or found.schema.to_arrow_schema().remove_metadata()
            if found.num_rows:
                files.append((path.replace(home / path.name), found.num_rows))
        if schema is None:
            raise ShopError("lake.nothing_written", name=name, folder=folder)
        return self._commit(name, files, schema, keep=False)

    def _commit(
        self,
        name: str,
        files: list[tuple[Path, int]],
        schema: pa.Schema,
        *,
        keep: bool,
        once: tuple[str, int] | None = None,
    ) -> int:
        folder = self.lake._folder(name)
        rows = sum(count for _, count in files)
        entry = self.written.get(name) or self._before.tables.get(name)
        delta = self._opened(name, entry, schema)
        actions = [
            AddAction(
                path=path.name,
                size=path.stat().st_size,
                partition_values={},
                modification_time=int(path.stat().st_mtime * 1000),
                data_change=True,
                stats=json.dumps({"numRecords": count}),
            )
            for path, count in files
        ]
        if keep:
            if actions:
                named = CommitProperties(app_transactions=[Transaction(*once)]) if once else None
                delta.create_write_transaction(actions, "append", delta.schema(), commit_properties=named)
        else:
            delta.create_write_transaction(actions, "overwrite", Schema.from_arrow(schema))
        total = rows + (entry.rows if keep and entry else 0)
        self.written[name] = Entry(DeltaTable(folder).version(), total)
        return rows

    def _opened(self, name: str, entry: Entry | None, schema: pa.Schema) -> DeltaTable:
        """The Delta table, its latest version equal to `entry`: what a killed step left behind is undone."""
        folder = self.lake._folder(name)
        if not DeltaTable.is_deltatable(str(folder)):
            create_table_with_add_actions(str(folder), Schema.from_arrow(schema), [], name=name)
            return DeltaTable(folder)  # new, or lost and made anew
        delta = DeltaTable(folder)
        if entry is None:
            if delta.version() > 0 or list(delta.file_uris()):
                delta.create_write_transaction([], "overwrite", Schema.from_arrow(schema))
        elif delta.version() != entry.version:
            delta.restore(entry.version)
        return DeltaTable(folder)


def write_atomically(path: Path, text: str | bytes, *, mode: int = 0o644) -> None:
    """Replace the file at `path` in one step that survives a crash: write beside it, flush to disk, rename."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
            out.write(text.encode() if isinstance(text, str) else text)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise ShopError("engine.disk_full") from error
        raise
