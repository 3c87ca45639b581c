"""A shop's folder, opened: its settings, lake, keys and reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from huaxiang.engine import Engine, Lake
from huaxiang.engine.lake import write_atomically
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings, load_settings

if TYPE_CHECKING:
    from huaxiang.clean import QualityReport
    from huaxiang.models import ScoreCard
    from huaxiang.trust import Pseudonyms, Vault


SETTINGS = "huaxiang.toml"


class Opened:
    """What every part of a shop stands on."""

    def __init__(self, folder: Path, settings: Settings, *, progress: Progress = SILENT) -> None:
        self.folder = folder
        self.settings = settings
        self.progress = progress
        self._temp = _own_temp(folder / "lake" / "tmp")
        self.engine = Engine.of(settings.shop, temp=self._temp)
        self.lake = Lake(folder / "lake", self.engine)

    def close(self) -> None:
        self.engine.close()
        shutil.rmtree(self._temp, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Shop({str(self.folder)!r}, {self.settings.shop.name!r}: {', '.join(self.lake.names()) or 'empty'})"

    def pseudonyms(self, *, create: bool = False) -> Pseudonyms:
        from huaxiang.trust import Pseudonyms, load_key

        if not create and not self.lake.names():
            self.lake.table("raw.events")  # raises: nothing was collected yet, so that there is no key either
        return Pseudonyms(load_key(self.folder / "keys" / "pseudonym.key", create=create))

    def vault(self, *, create: bool = False) -> Vault:
        from huaxiang.trust import Vault, load_key

        return Vault(self.folder / "vault.db", load_key(self.folder / "keys" / "vault.key", create=create))

    def quality(self) -> QualityReport | None:
        """The quality report of the last clean (None before the first)."""
        from huaxiang.clean import QualityReport

        path = self.folder / "reports" / "quality.json"
        return QualityReport.from_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def cards(self) -> list[ScoreCard]:
        """The score cards of the last training, one an outcome."""
        from huaxiang.models import ScoreCard

        paths = self.lake.note("train").get("cards", {}).values()
        return [ScoreCard.from_json((self.folder / "models" / path).read_text(encoding="utf-8")) for path in paths]

    def _save(self, name: str, text: str) -> None:
        (self.folder / "reports").mkdir(exist_ok=True)
        write_atomically(self.folder / "reports" / name, text)

    def _write_settings(self, change: Callable[[str], str]) -> None:
        path = self.folder / SETTINGS
        text = change(path.read_text(encoding="utf-8"))
        declared_now = load_settings(path, {}, text=text)
        write_atomically(path, text)
        self.settings = self.settings.model_copy(
            update={"models": declared_now.models, "audiences": declared_now.audiences}
        )


def _own_temp(folder: Path) -> Path:
    """Where this process spills; what processes that are gone have left there is deleted (it may hold raw ids)."""
    for left in folder.glob("*"):
        if left.name.isdigit() and not Path(f"/proc/{left.name}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder / str(os.getpid())
