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
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from huaxiang.engine import Engine, Lake, Step
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ShopError
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings, add_entry, drop_entry, load_settings
from huaxiang.words import Lang

if TYPE_CHECKING:
    from huaxiang.apply.guard.guard import Guard
    from huaxiang.apply.market.campaign_read import Reading
    from huaxiang.apply.market.campaigns import Campaigns
    from huaxiang.apply.market.market import Market
    from huaxiang.apply.predict.open import Predict
    from huaxiang.apply.recommend.recommend import Recommend
    from huaxiang.clean import QualityReport
    from huaxiang.collect import CollectReport
    from huaxiang.engine.spark_tables import Places
    from huaxiang.features import BuildReport
    from huaxiang.features.explain import Explanation
    from huaxiang.features.live.store import LiveStore
    from huaxiang.models import ScoreCard
    from huaxiang.models.next_item.compare import Leaderboard
    from huaxiang.models.vector_table import VectorRow
    from huaxiang.models.why import Foreseen
    from huaxiang.profile import Profile, ProfileReport
    from huaxiang.settings.behaviour import Size
    from huaxiang.settings.train import Zoo
    from huaxiang.trust import Pseudonyms, Vault

log = logging.getLogger(__name__)

SETTINGS = "huaxiang.toml"
BOARD = "leaderboard.json"
DECIDED = ("clv", "intent", "uplift", "campaigns", "guard")  # results kept in reports/
STEPS = ("collect", "clean", "build", "train", "profile", "report")


class Shop:
    """One shop, opened. Close it (or use `with`) to let go of the query engine."""

    def __init__(self, folder: Path, settings: Settings, *, progress: Progress = SILENT) -> None:
        self.folder = folder
        self.settings = settings
        self.progress = progress
        self._temp = _own_temp(folder / "lake" / "tmp")
        self.engine = Engine.of(settings.shop, temp=self._temp)
        self.lake = Lake(folder / "lake", self.engine)

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

    def close(self) -> None:
        self.engine.close()
        shutil.rmtree(self._temp, ignore_errors=True)

    def __enter__(self) -> Shop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Shop({str(self.folder)!r}, {self.settings.shop.name!r}: {', '.join(self.lake.names()) or 'empty'})"

    # ---- the journey ----------------------------------------------------------------------------------------------

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
                return build_on_spark(places, self.settings, as_of=as_of, progress=self.progress)
        with self._step("build") as step:
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

    def compare(self, *, seeds: int = 1, only: Sequence[str] = ()) -> Leaderboard:
        """Put every next-item model through the exam, on both splits; the leaderboard stands in the next report."""
        from huaxiang.models.next_item.compare import compare_next

        first = self.settings.train.seed
        content = self.settings.behaviour.content
        found = compare_next(
            self.lake, seeds=range(first, first + seeds), only=only, content=content, progress=self.progress
        )
        self._save(BOARD, found.to_json())
        return found

    def leaderboard(self) -> Leaderboard | None:
        """What the last `compare` found (None: there was none)."""
        path = self.folder / "reports" / BOARD
        if not path.exists():
            return None
        from huaxiang.models.next_item.compare import Leaderboard

        return Leaderboard.from_json(path.read_text(encoding="utf-8"))

    def decided(self) -> dict[str, Any]:
        """The last result of each application that has one, as the report shows it."""
        found: dict[str, Any] = {
            "recommend": self.lake.note("recommend"),
            "flow": self._flow(),
            "segments": self.lake.note("segments").get("found"),
            "audiences": [asdict(one) for one in self.market.audiences()] if self.settings.audiences else None,
        }
        for name in DECIDED:
            path = self.folder / "reports" / f"{name}.json"
            found[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        return {name: one for name, one in found.items() if one}

    def _flow(self) -> dict[str, Any] | None:
        found = self.market.flow() if self.settings.shop.engine != "spark" else {"moves": []}
        return found if found["moves"] else None

    def vector_table(self) -> list[VectorRow]:
        """What the behaviour model's vector knows of each outcome, beside the features and with them, by the last training."""
        from huaxiang.models.vector_table import vector_table

        return vector_table(self.cards())

    @property
    def guard(self) -> Guard:
        """The guard: named risks of customers and orders, rules, rings and the review queue.

        found = shop.guard.score()      # found.to_dict(); tables guard.scores, guard.rings, guard.fake_orders, guard.queue
        """
        from huaxiang.apply.guard.guard import Guard

        return Guard(self.lake, self.settings, progress=self.progress, save=lambda text: self._save("guard.json", text))

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

        show: called after each step with its name and what it returned (None: the step was skipped).
        """
        for name, step in (
            ("collect", self.collect),
            ("clean", self.clean),
            ("build", partial(self.build, full=full)),
            ("train", self.train),
            ("profile", self.profiles),
        ):
            fresh = name != "collect" and not full and self._is_fresh(name)
            result = None if fresh else step()
            if show is not None:
                show(name, result)
        if self.settings.audiences:
            self.market.refresh()
        out = self.folder / "reports" / "report.html"
        stamp = self.folder / "reports" / ".report"
        board = self.folder / "reports" / BOARD
        known = json.dumps(self.decided(), sort_keys=True, default=str).encode() + (
            board.read_bytes() if board.exists() else b""
        )
        mark = self._mark("report") + hashlib.sha256(known).hexdigest()
        if full or not out.exists() or not stamp.exists() or stamp.read_text(encoding="utf-8") != mark:
            self.report(out=out)
            write_atomically(stamp, mark)
        return out

    # ---- what one does with it ------------------------------------------------------------------------------------

    def uplift(self, *, repeats: int = 2) -> dict[str, Any]:
        """Whom a message moves, from campaigns with a hold-out; without one, who redeems. Ranks every customer (`market.uplift`)."""
        from huaxiang.apply.market.uplift_shop import find_uplift

        found = find_uplift(self.lake, seed=self.settings.train.seed, repeats=repeats)
        self._save("uplift.json", json.dumps(found, ensure_ascii=False, indent=1))
        return found

    @property
    def campaigns(self) -> Campaigns:
        """Plan, export, send and read campaigns with a hold-out."""
        from huaxiang.apply.market.campaigns import Campaigns

        return Campaigns(self.lake, self.settings, self.folder, self.pseudonyms(), self.vault())

    def read_campaign(self, name: str, *, at: datetime, days: int | None = None, metric: str | None = None) -> Reading:
        """What a campaign did, as assigned; kept for the report."""
        found = self.campaigns.read(name, at=at, days=days, metric=metric)
        path = self.folder / "reports" / "campaigns.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self._save(path.name, json.dumps(kept | {name: found.to_json()}, ensure_ascii=False, indent=1))
        return found

    # ---- what it knows --------------------------------------------------------------------------------------------

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

    def foresee(self, user: str, *, count: int = 5) -> list[Foreseen]:
        """What a customer will likely take next, by the model that the last training chose, and the events that speak most for each:
        taking one away lowers the item's score.

        user: the shop's own id or the pseudonym
        raises: ModelError where there is no behaviour model
        """
        from huaxiang.models.pretrain import check_version
        from huaxiang.models.why import foresee
        from huaxiang.profile import find_user

        check_version(self.lake.note("train"))
        found = find_user(self.lake, self.pseudonyms(), user)
        return foresee(self.lake, self.folder / "models", found, count=count)

    @property
    def predict(self) -> Predict:
        """What the shop can foresee of customers: lifetime value, next purchase, a session's intent, what if."""
        from huaxiang.apply.predict.open import Predict
        from huaxiang.profile import find_user

        def find(user: str) -> str:
            return find_user(self.lake, self.pseudonyms(), user, among="features")

        return Predict(self.lake, self.settings, self.folder, find)

    def _foreseen(self, users: Sequence[str]) -> dict[str, list[Foreseen]]:
        """What each of `users` will likely take next ({}: there is no behaviour model)."""
        from huaxiang.models.why import can_foresee, foresee

        if not can_foresee(self.lake):
            return {}
        return {user: foresee(self.lake, self.folder / "models", user) for user in users}

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

        path = self.folder / "live.db"
        if refill:
            with self.progress.task("live", "states", 1024) as advance:
                fill(self.lake, self.settings, path, advance=advance)
        return open_live(self.lake, self.settings, path)

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

    def add_feature(self, name: str, agg: str, column: str = "", **rest: Any) -> None:
        """Declare a feature in huaxiang.toml; the next build computes it.

            shop.add_feature("big_orders_90d", "count", where="event == 'purchase' and amount > 50", window="90d")

        agg, column, rest: what one entry of [features.mine] holds (agg, column, where, window, unit, meaning, owner …)
        raises: DefinitionError or SettingsError where it is not well declared; nothing is written then
        """
        from huaxiang.features.build import check_definitions

        path = self.folder / SETTINGS
        declared = {"agg": agg, "column": column, **rest}
        text = add_entry(path.read_text(encoding="utf-8"), ("features", "mine", name), declared)
        declared_now = load_settings(path, {}, text=text)
        check_definitions(declared_now)
        write_atomically(path, text)
        self.settings = self.settings.model_copy(update={"features": declared_now.features})

    def add_model(
        self,
        file: str | Path,
        outcome: str,
        *,
        name: str = "",
        features: Sequence[str] = (),
        labels: Sequence[str] = (),
        output: str = "",
        nan: bool = False,
    ) -> str:
        """Bring a model made elsewhere, an ONNX file, as a predictor of an outcome; the next train lets it take the exam. Gives its name.

            shop.add_model("mine.onnx", "churn_30d", features=["recency_days", "orders_90d", "spend_90d"])

        name: default: the file's; features: in the order the file takes them (default: its metadata "features", or its inputs' names);
        labels: of an outcome with classes, in the order the file gives them (default: its metadata "labels");
        output: probability, logit or number, what it answers; nan: it takes missing values itself
        raises: ModelError where the file does not run on this shop's rows; nothing is written then
        """
        from huaxiang.models.brought import bring_model

        added, entry = bring_model(
            self.lake,
            self.settings,
            self.folder / "models",
            Path(file),
            outcome=outcome,
            name=name,
            features=features,
            labels=labels,
            output=output,
            nan=nan,
        )
        self._write_settings(lambda text: add_entry(text, ("models", added), entry))
        return added

    def models(self) -> list[dict[str, Any]]:
        """The models brought with `add_model`: their entries, bytes, figure on the last score card, and whether they predict."""
        from huaxiang.models.brought import list_models

        return list_models(self.settings.models, self.cards(), self.folder / "models")

    def remove_model(self, name: str) -> None:
        """Take a brought model out of huaxiang.toml; what it predicted stays until the next train."""
        from huaxiang.models.brought import check_named

        check_named(name, self.settings.models)
        self._write_settings(lambda text: drop_entry(text, ("models", name)))

    def _write_settings(self, change: Callable[[str], str]) -> None:
        path = self.folder / SETTINGS
        text = change(path.read_text(encoding="utf-8"))
        declared_now = load_settings(path, {}, text=text)
        write_atomically(path, text)
        self.settings = self.settings.model_copy(
            update={"models": declared_now.models, "audiences": declared_now.audiences}
        )

    @property
    def recommend(self) -> Recommend:
        """What to show whom: `train()` learns and lists for everybody, `show(user)` answers for one, at any place of the shop."""
        from huaxiang.apply.recommend.recommend import Recommend

        return Recommend(self.lake, self.settings, self.folder / "models", self.progress)

    @property
    def market(self) -> Market:
        """Audiences: previewed, saved, found anew, uploaded, look-alikes.

        shop.market.save("leaving_gold", "churn_30d > 0.6 and value_tier == 'gold'")
        """
        from huaxiang.apply.market.market import Market

        def declare(name: str, entry: Mapping[str, Any] | None) -> Settings:
            place = ("audiences", name)
            self._write_settings(
                lambda text: drop_entry(text, place) if entry is None else add_entry(text, place, entry)
            )
            return self.settings

        return Market(self.lake, self.settings, declare, lambda user: self.pseudonyms().of(user))

    def export(self, path: str | Path, *, what: str = "traits") -> int:
        """Write all profiles to a .parquet, .csv or .jsonl file; gives the customers written."""
        from huaxiang.profile import export_profiles

        with self.progress.task("export", Path(path).name):
            return export_profiles(self.lake, self.settings, Path(path), what=what)

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

    def pseudonyms(self, *, create: bool = False) -> Pseudonyms:
        from huaxiang.trust import Pseudonyms, load_key

        if not create and not self.lake.names():
            self.lake.table("raw.events")  # raises: nothing was collected yet, so that there is no key either
        return Pseudonyms(load_key(self.folder / "keys" / "pseudonym.key", create=create))

    def vault(self, *, create: bool = False) -> Vault:
        from huaxiang.trust import Vault, load_key

        return Vault(self.folder / "vault.db", load_key(self.folder / "keys" / "vault.key", create=create))

    # ---- how a step is taken --------------------------------------------------------------------------------------

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

        if name in ("collect", "clean"):
            inputs: dict[str, Any] = {
                table: vars(entry) for table, entry in self.lake.manifest().tables.items() if table.startswith("raw.")
            }
        else:
            before = STEPS[STEPS.index(name) - 1]
            inputs = {before: self.lake.note(before).get("mark", "")}
        text = json.dumps([__version__, inputs, self.settings.model_dump(mode="json")], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _save(self, name: str, text: str) -> None:
        (self.folder / "reports").mkdir(exist_ok=True)
        write_atomically(self.folder / "reports" / name, text)


def _own_temp(folder: Path) -> Path:
    """Where this process spills; what processes that are gone have left there is deleted (it may hold raw ids)."""
    for left in folder.glob("*"):
        if left.name.isdigit() and not Path(f"/proc/{left.name}").exists():
            shutil.rmtree(left, ignore_errors=True)
    return folder / str(os.getpid())


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
