"""The commands of models made elsewhere: add, list, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from huaxiang.cli.terminal import WORDS, Folder, app, help_of, open_shop, out, print_json, say

model = typer.Typer(help=WORDS("cli.model"), no_args_is_help=True)
app.add_typer(model, name="model")


@model.command(help=WORDS("cli.model_add"))
def add(
    shop: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=help_of("onnx_file"))],
    outcome: Annotated[str, typer.Option(help=help_of("outcome"))],
    features: Annotated[str, typer.Option(help=help_of("model_features"))] = "",
    name: Annotated[str, typer.Option(help=help_of("model_name"))] = "",
    output: Annotated[str, typer.Option(help=help_of("model_output"))] = "",
    labels: Annotated[str, typer.Option(help=help_of("model_labels"))] = "",
    nan: Annotated[bool, typer.Option("--nan", help=help_of("model_nan"))] = False,
) -> None:
    with open_shop(shop) as opened:
        added = opened.add_model(
            file, outcome, name=name, features=_split(features), labels=_split(labels), output=output, nan=nan
        )
        entry = opened.settings.models[added]
    say("model_added", name=added, outcome=outcome, count=len(entry.features), sha=entry.sha256[:12])
    say("next", command=f"huaxiang train {shop}")


@model.command("list", help=WORDS("cli.model_list"))
def list_(shop: Folder, as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False) -> None:
    with open_shop(shop) as opened:
        listed = opened.models()
    if as_json:
        print_json(listed)
        return
    if not listed:
        say("no_models")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("name", "outcome", "file", "features", "output", "size", "exam"):
        table.add_column(WORDS(f"cli.say.model_{column}"), no_wrap=True)
    for one in listed:
        figure = f"{WORDS('models.metric.' + one['metric'])} {one['test']:.3g}" if one["test"] is not None else "–"
        table.add_row(
            one["name"],
            one["outcome"],
            one["file"],
            str(len(one["features"])),
            one["output"],
            f"{one['bytes'] / 1024:,.0f} KB",
            f"★ {figure}" if one["predicts"] else figure,
        )
    out.print(table, highlight=False, markup=False)


@model.command(help=WORDS("cli.model_remove"))
def remove(shop: Folder, name: Annotated[str, typer.Argument(metavar="NAME", help=help_of("model_named"))]) -> None:
    with open_shop(shop) as opened:
        opened.remove_model(name)
    say("model_removed", name=name)
    say("next", command=f"huaxiang train {shop}")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
