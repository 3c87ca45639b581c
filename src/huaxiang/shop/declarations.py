"""What one adds to a shop by a call: features and models, written to huaxiang.toml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huaxiang.engine.lake import write_atomically
from huaxiang.settings import add_entry, drop_entry, load_settings
from huaxiang.shop.opened import SETTINGS, Opened

if TYPE_CHECKING:
    pass


class Declarations(Opened):
    """Features and models of a shop's own."""

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
