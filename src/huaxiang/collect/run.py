"""`collect_sources`: every source of huaxiang.toml, in order, within one step.

Consent is read first, from all sources, so that a refusal in the last file keeps rows of the first one out.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from huaxiang.collect.databases import address_of, is_database, open_query
from huaxiang.collect.door import REFUSED_SCHEMA, Door, replace_refusals, withdraw
from huaxiang.collect.files import find_files, hash_file
from huaxiang.collect.map import TableMap, check_map, used_columns
from huaxiang.collect.read import Stage, stage_file, stage_relation
from huaxiang.collect.report import CollectReport, FileReport, SourceReport, TableCount
from huaxiang.collect.store import Lines, Store, numbered
from huaxiang.engine import Step
from huaxiang.errors import SourceError, TrustError
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings, SourceSettings
from huaxiang.trust import Pseudonyms, Vault

log = logging.getLogger(__name__)

RULES = "1"  # raise when the meaning of a mapping changes: every source is then mapped anew
BATCH_BYTES = 1 << 30  # files of a source staged together
REJECTS_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("file", pa.string()),
        pa.field("line", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("ref", pa.string()),
        pa.field("at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True)
class Origin:
    """One file, or the one result of a database, of a source. `label` names it in reports; `mark` tells its content."""

    label: str
    path: Path | None
    mark: str
    size: int


def collect_sources(
    step: Step,
    settings: Settings,
    *,
    folder: Path,
    pseudonyms: Pseudonyms,
    vault: Vault,
    now: datetime,
    progress: Progress = SILENT,
    environ: Mapping[str, str] | None = None,
) -> CollectReport:
    """Read every source into the raw tables; what is there already adds nothing.

    environ: where ${NAME} in a database URL is looked up (the process's environment by default)
    raises:  SourceError, TrustError; nothing is stored then
    """
    if not settings.collect:
        raise SourceError("collect.no_sources")
    run = _Run(step, settings, folder, pseudonyms, vault, now, progress, os.environ if environ is None else environ)
    try:
        return run.collect()
    finally:
        run.door.close()


class _Run:
    def __init__(
        self,
        step: Step,
        settings: Settings,
        folder: Path,
        pseudonyms: Pseudonyms,
        vault: Vault,
        now: datetime,
        progress: Progress,
        environ: Mapping[str, str],
    ) -> None:
        self.step, self.settings, self.folder, self.now = step, settings, folder, now
        self.pseudonyms, self.vault, self.progress, self.environ = pseudonyms, vault, progress, environ
        self.engine = step.lake.engine
        self.temp = step.lake.folder / "tmp"
        self.door = Door(self.engine, pseudonyms, vault, settings.door)
        self.before: dict[str, Any] = step.lake.note("collect")
        self.marks: dict[str, dict[str, Any]] = {
            name: dict(files) for name, files in self.before.get("files", {}).items()
        }
        self.maps: dict[str, str] = dict(self.before.get("maps", {}))
        self.again: set[str] = set()  # sources to read whole although their files are unchanged

    def collect(self) -> CollectReport:
        if self.before.get("key", self.key) != self.key:
            raise TrustError("trust.key_changed")
        origins = {source.name: self._origins(source) for source in self.settings.collect}
        if len(origins) < len(self.settings.collect):
            names = [source.name for source in self.settings.collect]
            raise SourceError("collect.same_name", name=next(name for name in names if names.count(name) > 1))
        for source in self.settings.collect:
            check_map(source, self.engine)
        self._ask_consent(origins)
        withdrawn = withdraw(self.step, self.vault)
        self.door.open(self.step)
        reports = [self._source(source, origins[source.name]) for source in self.settings.collect]
        strays = tuple(sorted(set(self.marks) - set(origins)))
        self.step.note |= {"files": self.marks, "maps": self.maps, "key": self.key, "strays": list(strays)}
        return CollectReport(tuple(reports), withdrawn, strays)

    @property
    def key(self) -> str:
        return self.pseudonyms.secret("key")

    # ---- consent ---------------------------------------------------------------------------------------------------

    def _ask_consent(self, origins: dict[str, list[Origin]]) -> None:
        """Read who refuses from every changed file that says so; a user who agrees anew has their sources read again."""
        fresh, read = [REFUSED_SCHEMA.empty_table()], []
        for source in self.settings.collect:
            asking = [to for to in source.to if to.table == "users" and {"consent", "user_id"} <= set(to.map)]
            for origin in origins[source.name] if asking else []:
                if self._is_known(source, origin):
                    continue
                read.append((source.name, origin.label))
                only = source.model_copy(update={"to": tuple(asking)})
                with ExitStack() as stack:
                    stage = self._stage(only, stack)
                    self._read(stage, 0, only, origin)
                    for to in asking:
                        table_map = TableMap(only, to, stage.columns, self.settings.door.purpose.lower())
                        typed = table_map.typed(table_map.texts(f"SELECT *, _hash AS row_id FROM {stage.name}"))
                        fresh.append(self.door.note_consent(typed, source.name, origin.label, self.now))
        if read:
            agreed_anew = replace_refusals(self.step, pa.concat_tables(fresh), read)
            if agreed_anew:
                self.again = {source.name for source in self.settings.collect}
            self.again |= {source.name for source in self.settings.collect if not source.consent_default}

    # ---- one source ------------------------------------------------------------------------------------------------

    def _source(self, source: SourceSettings, origins: list[Origin]) -> SourceReport:
        start = time.perf_counter()
        remap = self.maps.get(source.name, "") not in ("", self._map_mark(source))
        reports: list[FileReport] = []
        changed = []
        for origin in origins:
            if self._is_known(source, origin) and source.name not in self.again:
                reports.append(FileReport(origin.label, self.marks[source.name][origin.label]["lines"], unchanged=True))
            else:
                changed.append(origin)
        store = Store(self.step, self.door, source, self.now)
        first = True
        for batch in _batches(changed):
            with (
                self.progress.task("collect", source.name, float(sum(origin.size for origin in batch))) as advance,
                ExitStack() as stack,
            ):
                stage = self._stage(source, stack)
                lines = {
                    number: self._read(stage, number, source, origin, advance) for number, origin in enumerate(batch)
                }
                reports += self._store(store, stage, batch, lines, remap=remap, first=first)
            first = False
        self.maps[source.name] = self._map_mark(source)
        seconds = time.perf_counter() - start
        report = SourceReport(source.name, tuple(reports), round(seconds, 3), store.misfits() if changed else {})
        log.info(
            "collect %s: %d lines, %s, %.2f s", source.name, sum(file.lines for file in reports), report.rows, seconds
        )
        return report

    def _store(
        self, store: Store, stage: Stage, batch: list[Origin], lines: dict[int, int], *, remap: bool, first: bool
    ) -> Iterator[FileReport]:
        source = store.source
        counts: dict[int, list[TableCount]] = {number: [] for number in lines}
        with numbered(stage) as rows:
            if remap:
                store.take_back(rows, stage, first=first)
            single = {
                row["_file"]: row["n"]
                for row in self.engine.rows(f"SELECT _file, count(*) AS n FROM ({rows}) GROUP BY 1")
            }
            staged = Lines({number: lines[number] - len(stage.rejects[number]) for number in lines}, single)
            for place in range(len(source.to)):
                for number, count in store.add(rows, stage, place, staged).items():
                    counts[number].append(count)
        for number, origin in enumerate(batch):
            self._keep_rejects(stage, number, source, origin)
            self.marks.setdefault(source.name, {})[origin.label] = {
                "mark": origin.mark,
                "map": self._map_mark(source),
                "lines": lines[number],
            }
            yield FileReport(origin.label, lines[number], len(stage.rejects[number]), tables=tuple(counts[number]))

    def _keep_rejects(self, stage: Stage, number: int, source: SourceSettings, origin: Origin) -> None:
        rejects = stage.rejects[number]
        if not rejects:
            return
        refs = self.vault.keep_texts("reject", [reject.text for reject in rejects])
        found = pa.table(
            {
                "source": [source.name] * len(rejects),
                "file": [origin.label] * len(rejects),
                "line": [reject.line for reject in rejects],
                "reason": [reject.reason for reject in rejects],
                "ref": refs,
                "at": [self.now] * len(rejects),
            },
            schema=REJECTS_SCHEMA,
        )
        loaded = self.engine.load(found)
        known = (
            self.engine.sql(self.step.table("raw.rejects"))
            if self.step.has("raw.rejects")
            else f"SELECT * FROM {loaded.get_name()} LIMIT 0"
        )
        self.step.append(
            "raw.rejects", f"SELECT * FROM {loaded.get_name()} ANTI JOIN ({known}) USING (source, file, line, ref)"
        )
        self.engine.drop(loaded)

    # ---- what is read ----------------------------------------------------------------------------------------------

    def _origins(self, source: SourceSettings) -> list[Origin]:
        if is_database(source):
            what = source.db_table or "query " + hashlib.sha256(source.query.encode()).hexdigest()[:8]
            return [Origin(f"{address_of(source.from_[0])} {what}", None, "", 0)]
        paths = find_files(source, self.folder)
        return [Origin(_label(path, self.folder), path, hash_file(path), path.stat().st_size) for path in paths]

    def _stage(self, source: SourceSettings, stack: ExitStack) -> Stage:
        stage = Stage(
            self.engine, "staged", used_columns(source), self.pseudonyms.secret(f"row {source.name}"), self.temp
        )
        stage.create()
        stack.callback(self.engine.run, "DROP TABLE staged")
        return stage

    def _read(
        self, stage: Stage, number: int, source: SourceSettings, origin: Origin, advance: Any = lambda steps: None
    ) -> int:
        if origin.path is not None:
            lines = stage_file(stage, number, origin.path, source, advance)
        else:
            stage.rejects[number] = []
            with open_query(self.engine, source, self.folder, self.environ) as relation:
                if stage_relation(stage, number, relation, origin.label, source) is not None:
                    raise SourceError("collect.unreadable", path=origin.label, source=source.name)
            lines = stage.rows(number)
        return lines

    def _is_known(self, source: SourceSettings, origin: Origin) -> bool:
        found = self.marks.get(source.name, {}).get(origin.label)
        return (
            bool(origin.mark)
            and found is not None
            and (found["mark"], found["map"]) == (origin.mark, self._map_mark(source))
        )

    def _map_mark(self, source: SourceSettings) -> str:
        said = source.model_dump_json(exclude={"from_"}) + self.settings.door.model_dump_json() + RULES
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def _label(path: Path, folder: Path) -> str:
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(path)


def _batches(origins: list[Origin]) -> Iterator[list[Origin]]:
    batch: list[Origin] = []
    for origin in origins:
        if batch and sum(other.size for other in batch) + origin.size > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(origin)
    if batch:
        yield batch
