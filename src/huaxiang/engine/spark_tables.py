"""Where a shop's tables lie for Spark: in its own lake, in a catalog, or in folders; and how a step replaces them whole.

What a step writes is staged beside the old table and takes its place when the step ends, so that one that fails or is killed
leaves the last good table. Tables of the lake change places all at once (the manifest); each other table for itself.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import ibis
from deltalake import DeltaTable

from huaxiang.engine.lake import Step
from huaxiang.engine.spark import SparkEngine, here
from huaxiang.errors import ShopError, SourceError, TableError
from huaxiang.settings import SparkSettings
from huaxiang.tables import ARROW, Column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LAKE = {
    "events": "clean.events",
    "items": "clean.items",
    "users": "clean.users",
    "relations": "clean.relations",
    "identifiers": "clean.identifiers",
    "links": "identity.links",
    "ready_users": "ready.users",
    "ready_items": "ready.items",
    "ready_events": "ready.events",
    "ready_fakes": "ready.fakes",
}
ATOMIC = ("delta", "iceberg")  # formats whose catalog replaces a table in one transaction


@dataclass
class Places:
    """The tables of one step of the journey on Spark; `names`: logical name -> catalog name or folder ("": the lake)."""

    engine: SparkEngine
    step: Step
    settings: SparkSettings
    staged: dict[str, str] = field(default_factory=dict)

    def where(self, name: str) -> str:
        """The catalog name or folder that huaxiang.toml gives ("": the shop's own lake)."""
        return str(getattr(self.settings.tables, name))

    def has(self, name: str) -> bool:
        return bool(self.where(name)) or self.step.has(LAKE.get(name, name))

    def read(self, name: str) -> ibis.Table:
        """The table as this step sees it; raises SourceError where there is none."""
        place = self.staged.get(name) or self.where(name)
        if not place:
            lake = LAKE.get(name, name)
            if not self.step.has(lake):
                raise SourceError("spark.nothing_to_read", name=name, lake=lake)
            table = self.step.table(lake)
            return self.engine.parquet(self.step.files(lake), self.step.lake.engine.schema(table))
        if is_folder(place):
            self._recover(place)
            return self.engine.view(
                self._folder_frame(place, "parquet" if name in self.staged else self.settings.format)
            )
        self._recover_table(place)
        with self.engine.attempt():
            return self.engine.view(self.engine.session.table(place))

    def contract(self, name: str, columns: tuple[Column, ...], required: tuple[str, ...]) -> ibis.Table:
        """A table read, with just `columns`, each in its type; NULL where the table lacks one.

        raises: TableError where it lacks a required one
        """
        table = self.read(name)
        lack = [column for column in required if column not in table.columns]
        if lack:
            have, place = ", ".join(table.columns), self.where(name) or LAKE[name]
            raise TableError("spark.lacks", place=place, lack=", ".join(lack), have=have)
        made = {}
        for column in columns:
            kind = ibis.dtype(ARROW[column.type])
            made[column.name] = table[column.name].cast(kind) if column.name in table.columns else ibis.null(kind)
        return table.select(**made)

    def write(self, name: str, query: ibis.Table, *, sort: tuple[str, ...] = ()) -> int:
        """Stage the result as the whole content of table `name`; gives its rows. sort: order within a file, the first column ranged."""
        frame = self.engine.frame(query)
        if sort:
            frame = frame.repartitionByRange(sort[0]).sortWithinPartitions(*sort)
        place = self.where(name)
        if not place:
            return self._write_lake(LAKE.get(name, name), frame)
        staged = f"{place.rstrip('/')}.new" if is_folder(place) else f"{place}__new"
        with self.engine.attempt():
            if is_folder(place):
                frame.write.mode("overwrite").format("parquet").save(staged)
            else:
                self._sql(f"DROP TABLE IF EXISTS {staged}")
                frame.write.mode("overwrite").format(self.settings.format).saveAsTable(staged)
        self.staged[name] = staged
        return int(self.engine.value(self.read(name).count().as_table()))

    def publish(self) -> None:
        """Put what is staged in its place; called when all of the step is written."""
        for name, staged in self.staged.items():
            place = self.where(name)
            with self.engine.attempt():
                if is_folder(place):
                    self._swap_folder(staged, place.rstrip("/"))
                elif self.settings.format in ATOMIC:
                    frame = self.engine.session.table(staged)
                    frame.writeTo(place).using(self.settings.format).createOrReplace()
                    self._sql(f"DROP TABLE {staged}")
                else:
                    self._swap_table(staged, place)
        self.staged.clear()

    def copy_to_lake(self, name: str) -> int:
        """A copy of a bounded table in the shop's own lake; gives its rows."""
        return self._write_lake(LAKE.get(name, name), self.engine.frame(self.read(name)))

    # ---- the lake --------------------------------------------------------------------------------------------------

    def _write_lake(self, name: str, frame: DataFrame) -> int:
        folder = self.step.lake.folder / "tmp" / f"spark-{uuid.uuid4().hex}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.engine.attempt():
                frame.write.format("parquet").save(here(folder))
            return self.step.adopt(name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # ---- folders ---------------------------------------------------------------------------------------------------

    def _folder_frame(self, place: str, format: str) -> DataFrame:
        """The content of a folder. A Delta table on this machine's file system needs no jar to be read."""
        reader = self.engine.session.read
        with self.engine.attempt():
            folder = Path(place).resolve()
            if "://" not in place and (folder / "_delta_log").is_dir():
                return reader.parquet(*(here(folder / unquote(uri)) for uri in DeltaTable(folder).file_uris()))
            return reader.format("delta" if format == "delta" else "parquet").load(place)

    def _swap_folder(self, staged: str, place: str) -> None:
        if self.settings.format == "delta":
            frame = self.engine.session.read.parquet(staged)
            frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(place)
            self._files(staged).delete(self._path(staged), True)
            return
        files, old = self._files(place), self._path(f"{place}.old")
        files.delete(old, True)
        if files.exists(self._path(place)):
            self._rename(place, f"{place}.old")
        self._rename(staged, place)
        files.delete(old, True)

    def _recover(self, place: str) -> None:
        """Puts back the last good folder where a swap was cut off between its two renames."""
        place = place.rstrip("/")
        with self.engine.attempt():
            files = self._files(place)
            if not files.exists(self._path(place)) and files.exists(self._path(f"{place}.old")):
                self._rename(f"{place}.old", place)

    def _rename(self, old: str, new: str) -> None:
        if not self._files(old).rename(self._path(old), self._path(new)):
            raise ShopError("spark.failed", detail=f"rename {old} → {new}")

    def _path(self, place: str) -> Any:
        jvm = self.engine.session._jvm
        return jvm.org.apache.hadoop.fs.Path(place)  # any file system that Hadoop knows, not only this machine's

    def _files(self, place: str) -> Any:
        return self._path(place).getFileSystem(self.engine.session._jsc.hadoopConfiguration())

    # ---- catalog tables --------------------------------------------------------------------------------------------

    def _swap_table(self, staged: str, place: str) -> None:
        old = f"{place}__old"
        self._sql(f"DROP TABLE IF EXISTS {old}")
        if self.engine.session.catalog.tableExists(place):
            self._sql(f"ALTER TABLE {place} RENAME TO {old}")
        self._sql(f"ALTER TABLE {staged} RENAME TO {place}")
        self._sql(f"DROP TABLE IF EXISTS {old}")

    def _recover_table(self, place: str) -> None:
        with self.engine.attempt():
            catalog = self.engine.session.catalog
            if not catalog.tableExists(place) and catalog.tableExists(f"{place}__old"):
                self._sql(f"ALTER TABLE {place}__old RENAME TO {place}")

    def _sql(self, text: str) -> None:
        self.engine.session.sql(text)


def is_folder(place: str) -> bool:
    return "/" in place
