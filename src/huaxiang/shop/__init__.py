"""A shop is a folder; `Shop` walks it through the journey, one method a step, in order.

    shop = Shop.init("myshop", ["orders.csv", "users.csv"])   # looks at the files, writes huaxiang.toml
    shop.run()                                                # collect → clean → build → train → profiles → report
    shop.profile("17850")                                     # one customer

Each step reads what the one before left in the lake and may be repeated; one that fails or is killed leaves the shop as it
was before it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huaxiang.engine import Step
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ShopError
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import load_settings
from huaxiang.shop.decisions import BOARD, Decisions
from huaxiang.shop.declarations import Declarations
from huaxiang.shop.opened import SETTINGS
from huaxiang.words import Lang

if TYPE_CHECKING:
    from huaxiang.clean import QualityReport
    from huaxiang.collect import CollectReport
    from huaxiang.engine.spark_tables import Places
    from huaxiang.features import BuildReport
    from huaxiang.features.explain import Explanation
    from huaxiang.features.live.store import LiveStore
    from huaxiang.models import ScoreCard
    from huaxiang.profile import Profile, ProfileReport
    from huaxiang.settings.behaviour import Size
    from huaxiang.settings.train import Zoo


log = logging.getLogger(__name__)

__all__ = ["SETTINGS", "STEPS", "Shop"]
STEPS = ("collect", "clean", "build", "train", "profile", "report")


class Shop(Decisions, Declarations):
    """One shop, opened. Close it (or use `with`) to let go of the query engine."""

    @classmethod
    def init(
        cls,
        folder: str | Path,
        sources: Sequence[str],
        *,
        third_party: Sequence[str] = (),
        lang: Lang = "en",
        force: bool = False,
        progress: Progress = SILENT,
    ) -> Shop:
        """A new shop: looks at the files or database URLs in `sources` and writes `folder`/huaxiang.toml."""
        from huaxiang.collect.propose import init_shop

        init_shop(Path(folder), list(sources), third_party=list(third_party), lang=lang, force=force)
        return cls.open(folder, progress=progress)

    @classmethod
    def open(cls, folder: str | Path, *, environ: Mapping[str, str] | None = None, progress: Progress = SILENT) -> Shop:
        """The shop in `folder`; raises ShopError or SettingsError where it cannot be opened."""
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            raise ShopError("shop.no_folder", folder=folder)
        settings = load_settings(folder / SETTINGS, os.environ if environ is None else environ)
        return cls(folder, settings, progress=progress)

    def collect(self, *, now: datetime | None = None) -> CollectReport:
        """Read every source of huaxiang.toml into the lake; what is there already adds nothing."""
        from huaxiang.collect import collect_sources

        with self._step("collect") as step:
            return collect_sources(
                step,
                self.settings,
                folder=self.folder,
                pseudonyms=self.pseudonyms(create=True),
                vault=self.vault(create=True),
                now=now or _now(),
                progress=self.progress,
            )

    def clean(self, *, now: datetime | None = None) -> QualityReport:
        """Judge every raw row: into the trusted tables, or into the quarantine with its reason."""
        from huaxiang.clean import clean_tables

        if not self.lake.has("raw.events") and not self.lake.has("raw.users"):
            self.lake.table("raw.events")  # raises: nothing is collected yet
        with self._step("clean") as step:
            step.note["live_offset"] = self.lake.note("live").get("offset", 0)  # how far the lake knows the live log
            report = clean_tables(step, self.settings, now=now or _now(), progress=self.progress)
        self._save("quality.json", report.to_json())
        return report

    def build(self, *, as_of: date | None = None, full: bool = False, now: datetime | None = None) -> BuildReport:
        """Join identities, then compute the features, and the training sets of every outcome.

        After new events it computes only what they touch; `full` computes everything anew, with the same answer.
        """
        from huaxiang.features import build_features
        from huaxiang.identity import link_users

        if self.settings.shop.engine == "spark":
            from huaxiang.features.spark_build import build_on_spark

            with self._step_on_spark("build") as places:
                places.step.note["live_offset"] = self.lake.note("clean").get("live_offset", 0)
                return build_on_spark(places, self.settings, as_of=as_of, progress=self.progress)
        with self._step("build") as step:
            step.note["live_offset"] = self.lake.note("clean").get("live_offset", 0)
            link_users(step, self.settings, progress=self.progress)
            return build_features(
                step, self.settings, as_of=as_of, now=now or _now(), full=full, progress=self.progress
            )

    def train(self, *, size: Size | None = None, zoo: Zoo | None = None) -> list[ScoreCard]:
        """Pre-train the behaviour model, and put the models of each declared outcome through the exam; the winners predict for every
        customer.

        size: of the behaviour model, this once, instead of [behaviour] size
        zoo: quick or full, this once, instead of [train] zoo
        """
        if zoo is not None:
            train = self.settings.train.model_copy(update={"zoo": zoo})
            self.settings = self.settings.model_copy(update={"train": train})
        if size is not None:
            behaviour = self.settings.behaviour.model_copy(update={"size": size})
            self.settings = self.settings.model_copy(update={"behaviour": behaviour})
        from huaxiang.models import train_outcomes

        if self.settings.shop.engine == "spark":
            from huaxiang.models.card import say
            from huaxiang.models.pretrain import skip
            from huaxiang.models.spark_scoring import SparkScorer, bring_training

            with self._step_on_spark("train") as places:
                bring_training(places)
                skip(places.step, say("models.behaviour.why.spark"))
                scorer = SparkScorer(places, self.settings)
                folder = self.folder / "models"
                return train_outcomes(places.step, self.settings, folder=folder, scorer=scorer, progress=self.progress)
        if not self.lake.has("features"):
            self.lake.table("features")  # raises: nothing is built yet
        from huaxiang.models.past import train_past
        from huaxiang.models.pretrain import pretrain

        folder = self.folder / "models"
        with self._step("train") as step:
            version = pretrain(step, self.settings, folder=folder, progress=self.progress)
            past = train_past(step, self.settings, folder=folder, progress=self.progress) if version else None
            return train_outcomes(step, self.settings, folder=folder, past=past, progress=self.progress)

    def profiles(self) -> ProfileReport:
        """Turn features and predictions into one row of traits a customer."""
        from huaxiang.profile import build_profiles

        if self.settings.shop.engine == "spark":
            from huaxiang.profile.spark_build import build_on_spark

            with self._step_on_spark("profile") as places:
                return build_on_spark(places, self.settings, progress=self.progress)
        with self._step("profile") as step:
            return build_profiles(step, self.settings, progress=self.progress)

    def report(self, *, lang: Lang | None = None, out: Path | None = None) -> Path:
        """Write the shop's self-contained HTML report; gives its path."""
        from huaxiang.report import write_report

        out = out or self.folder / "reports" / "report.html"
        out.parent.mkdir(parents=True, exist_ok=True)
        with self.progress.task("report", out.name):
            examples = self.examples()
            return write_report(
                self.lake,
                self.settings,
                quality=self.quality(),
                cards=self.cards(),
                profiles=[self.profile(user).to_dict() for user in examples],
                board=self.leaderboard(),
                foreseen=self._foreseen(examples),
                decided=self.decided(),
                out=out,
                lang=lang or self.settings.shop.language,
            )

    def run(self, *, full: bool = False, show: Callable[[str, Any], None] | None = None) -> Path:
        """Every step in order, those skipped whose input has not changed (`full` repeats all); gives the report's path.

        What somebody deleted of the lake is made anew; lost records are not (ShopError).

        show: called after each step with its name and what it returned (None: the step was skipped).
        """
        if lost := self.lake.lost():
            if gone := [name for name in lost if name.startswith("raw.")]:
                raise ShopError("lake.lost", names=", ".join(gone), folder=self.lake.folder)
            log.warning("gone from the lake, and made anew: %s", ", ".join(lost))
            full = True
        for name, step in (
            ("collect", self.collect),
            ("clean", self.clean),
            ("build", partial(self.build, full=full)),
            ("train", self.train),
            ("profile", self.profiles),
        ):
            fresh = name != "collect" and not full and self._is_fresh(name)
            if name == "collect" and not self.settings.collect and self.lake.has("raw.events"):
                fresh = True  # all that this shop knows came in live
            result = None if fresh else step()
            if show is not None:
                show(name, result)
        if self.settings.audiences:
            self.market.refresh_due(ran=True)
        out = self.folder / "reports" / "report.html"
        stamp = self.folder / "reports" / ".report"
        board = self.folder / "reports" / BOARD
        known = json.dumps(self._kept(), sort_keys=True, default=str).encode() + (
            board.read_bytes() if board.exists() else b""
        )
        mark = self._mark("report") + hashlib.sha256(known).hexdigest()
        if full or not out.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != mark:
            self.report(out=out)
            write_atomically(stamp, mark)
        return out

    def profile(self, user: str) -> Profile:
        """The profile of one customer, by the shop's own id or by pseudonym; raises UnknownUserError."""
        from huaxiang.profile import find_user, profile_document

        return profile_document(self.lake, self.settings, find_user(self.lake, self.pseudonyms(), user))

    def name_of(self, lang: Lang) -> Callable[[str], str]:
        """What features and outcomes of the last build are called in a language, by their names."""
        from huaxiang.profile.names import Names

        names = Names.of(self.lake)
        return lambda name: names.label(name)[lang]

    def pseudonym(self, user: str) -> str:
        """The pseudonym of a customer, by the shop's own id or the pseudonym itself; raises UnknownUserError."""
        from huaxiang.profile import find_user

        return find_user(self.lake, self.pseudonyms(), user)

    def examples(self, n: int = 3) -> list[str]:
        """`n` customers worth reading first, unlike one another (pseudonyms)."""
        from huaxiang.profile import pick_examples

        return pick_examples(self.lake, n)

    def features(self) -> list[dict[str, Any]]:
        """The features of the last build: name, unit, meaning_en, meaning_zh, group, version, type,
        owner, definition, live."""
        if "features" not in self.lake.note("build"):
            self.lake.table("features")  # raises: no build yet
        return list(self.lake.note("build")["features"])

    def explain(self, feature: str, user: str, *, lang: Lang | None = None, limit: int = 20) -> Explanation:
        """Why a customer has this value of a feature: the definition, the events, the arithmetic.

        user: the shop's own id or the pseudonym; limit: events shown
        """
        from huaxiang.features.explain import explain_feature
        from huaxiang.profile import find_user

        found = find_user(self.lake, self.pseudonyms(), user, among="features")
        return explain_feature(
            self.lake, self.settings, feature, found, lang=lang or self.settings.shop.language, limit=limit
        )

    def live(self, *, refill: bool = False) -> LiveStore:
        """The live states of the features that fold exactly, kept in `live.db`; close it, or use `with`.

            with shop.live(refill=True) as live:              # from what the last build knew
                live.apply(events)                            # an Arrow table with the columns of the contract's events
                live.values("u1", as_of)

        refill: make every state anew from the last build (also needed after definitions changed)
        """
        from huaxiang.features.live.open import fill, open_live

        where = self.live_states()
        if refill:
            with self.progress.task("live", "states", 1024) as advance:
                fill(self.lake, self.settings, where, advance=advance)
        return open_live(self.lake, self.settings, where)

    def live_states(self) -> Path | str:
        """Where the live states are kept: a SQLite file of the shop's folder, or the PostgreSQL that [live] store names."""
        return store if "://" in (store := self.settings.live.store) else self.folder / "live.db"

    def stream(
        self,
        source: str,
        out: str | Path,
        checkpoint: str | Path,
        *,
        options: Mapping[str, str] | None = None,
        once: bool = True,
    ) -> tuple[int, list[str]]:
        """Fold a stream of events on Spark by the shop's definitions; gives the batches run, and the features left to the batch build.

        source: json:, parquet: or csv: and a folder watched for files, or kafka:topic; out: where each batch's values are written;
        checkpoint: where Spark keeps offsets and states; options: of the source; once: take what is there and end
        """
        from huaxiang.engine.spark import SparkEngine
        from huaxiang.engine.spark_tables import Places
        from huaxiang.features.spark_stream import stream_on_spark

        with SparkEngine.of(self.settings.spark, os.environ) as spark:
            places = Places(spark, Step(self.lake, "stream"), self.settings.spark)
            return stream_on_spark(places, self.settings, source, out, checkpoint, options=options, once=once)

    def export(self, path: str | Path, *, what: str = "traits") -> int:
        """Write all profiles to a .parquet, .csv or .jsonl file; gives the customers written."""
        from huaxiang.profile import export_profiles

        with self.progress.task("export", Path(path).name):
            return export_profiles(self.lake, self.settings, Path(path), what=what)

    @contextmanager
    def _step(self, name: str) -> Iterator[Step]:
        with self.lake.step(name) as step:
            mark = self._mark(name)
            try:
                yield step
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise ShopError("engine.disk_full") from error
                raise
            step.note["mark"] = mark
            log.info(
                "%s: %s",
                name,
                ", ".join(f"{table} {entry.rows}" for table, entry in step.written.items()) or "nothing new",
            )

    @contextmanager
    def _step_on_spark(self, name: str) -> Iterator[Places]:
        """A step whose tables Spark writes: all of them take their places at its end."""
        from huaxiang.engine.spark import SparkEngine
        from huaxiang.engine.spark_tables import Places

        with SparkEngine.of(self.settings.spark, os.environ) as spark, self._step(name) as step:
            places = Places(spark, step, self.settings.spark)
            yield places
            places.publish()

    def _is_fresh(self, name: str) -> bool:
        return self.lake.note(name).get("mark") == self._mark(name)

    def _mark(self, name: str) -> str:
        """What a step's result depends on: the tables before it, the settings, and this version of huaxiang."""
        from huaxiang import __version__
        from huaxiang.features.fakes import held_mark

        if name in ("collect", "clean"):
            inputs: dict[str, Any] = {
                table: vars(entry) for table, entry in self.lake.manifest().tables.items() if table.startswith("raw.")
            }
        else:
            before = STEPS[STEPS.index(name) - 1]
            inputs = {before: self.lake.note(before).get("mark", "")}
            if name == "build":  # orders held fake since are kept out of it
                inputs["fakes"] = held_mark(self.lake)
        text = json.dumps([__version__, inputs, self.settings.model_dump(mode="json")], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
