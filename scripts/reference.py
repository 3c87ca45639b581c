"""Write docs/reference/*.md from the code itself: tables, settings, features, the command line, the Python calls.

Run by `make docs`; a test fails when a page is not what this script writes.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "reference"


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (OUT / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name -> Markdown of each reference page."""
    return {
        "tables.md": tables(),
        "settings.md": settings(),
        "features.md": features(),
        "events.md": events(),
        "commands.md": commands(),
        "python.md": python(),
    }


def tables() -> str:
    from huaxiang.tables import LINEAGE, TABLES

    parts = [
        "# The five tables",
        "",
        "Everything enters as these; every later stage reads only these. Times are UTC, money is in the shop's currency.",
        "",
    ]
    for table in TABLES.values():
        parts += [
            f"## {table.name}",
            "",
            f"{table.en} · {table.zh}",
            "",
            "| column | type | unit | meaning | 含义 |",
            "|---|---|---|---|---|",
        ]
        for column in table.columns:
            marks = "".join(
                (
                    " **required**" if column.required else "",
                    " *pseudonym*" if column.pseudonym else "",
                    " *vault*" if column.personal else "",
                )
            )
            parts.append(f"| `{column.name}`{marks} | {column.type} | {column.unit} | {column.en} | {column.zh} |")
        parts.append("")
    parts += ["## On every row", "", "| column | type | meaning | 含义 |", "|---|---|---|---|"]
    parts += [f"| `{column.name}` | {column.type} | {column.en} | {column.zh} |" for column in LINEAGE]
    parts += ["", "*pseudonym*: stored as a keyed pseudonym. *vault*: encrypted in the vault, never in the lake.", ""]
    return "\n".join(parts)


def events() -> str:
    from huaxiang.tables import EVENT_NAMES

    parts = [
        "# The event vocabulary",
        "",
        "Our name, and the names other systems use that are understood as it (any case).",
        "",
        "| event | also known as |",
        "|---|---|",
    ]
    parts += [f"| `{ours}` | {', '.join(others)} |" for ours, others in EVENT_NAMES.items()]
    return "\n".join([*parts, ""])


def features() -> str:
    from huaxiang.features.standard import standard_features

    parts = ["# The standard features", "", "| feature | unit | group | meaning | 含义 |", "|---|---|---|---|---|"]
    for feature in (made.note() for made in standard_features()):
        parts.append(
            f"| `{feature['name']}` | {feature['unit']} | {feature['group']} | {feature['meaning_en']} | {feature['meaning_zh']} |"
        )
    return "\n".join([*parts, ""])


def commands() -> str:
    """Every command and option. In a process of its own: the command line takes its language when it is loaded."""
    done = subprocess.run([sys.executable, "-c", COMMANDS, "--lang", "en"], capture_output=True, text=True, check=True)
    parts = ["# The command line", "", "`--lang en|zh`, `--verbose` and `--debug` may stand anywhere.", ""]
    for command in json.loads(done.stdout):
        parts += [
            f"## huaxiang {command['name']}",
            "",
            command["help"],
            "",
            "| argument or option | default | meaning |",
            "|---|---|---|",
        ]
        parts += [f"| `{name}` | {default} | {text} |" for name, default, text in command["params"]]
        parts.append("")
    return "\n".join(parts)


COMMANDS = """
import json, typer
from huaxiang.cli import app
found = []
commands = []
for name, command in typer.main.get_command(app).commands.items():
    below = getattr(command, "commands", None)
    commands += [(name, command)] if below is None else [(f"{name} {inner}", one) for inner, one in below.items()]
for name, command in commands:
    params = [
        (param.opts[0] if param.opts[0].startswith("-") else param.metavar or param.name.upper(),
         "" if param.required or param.default in (None, "", False) else str(param.default),
         getattr(param, "help", "") or "")
        for param in command.params if param.name != "help"
    ]
    found.append({"name": name, "help": command.help or "", "params": params})
print(json.dumps(found))
"""


def python() -> str:
    """The calls of Shop and of the client, from their docstrings."""
    from huaxiang import Shop
    from huaxiang.client import Client

    shop = inspect.cleandoc(inspect.getmodule(Shop).__doc__ or "")
    client = inspect.cleandoc(inspect.getmodule(sys.modules["huaxiang.client"]).__doc__ or "")
    parts = ["# From Python", "", "```text", shop, "```", "", *calls_of(Shop), "# Of a shop that runs elsewhere", ""]
    return "\n".join([*parts, "```text", client, "```", "", *calls_of(Client)])


def calls_of(kind: type) -> list[str]:
    """A heading and the docstring of each public method."""
    parts = []
    calls = {name: call for part in kind.__mro__[:-1] for name, call in vars(part).items()}
    for name, call in calls.items():
        bound = inspect.unwrap(getattr(kind, name))
        if name.startswith("_") or not callable(bound) or not bound.__doc__:
            continue
        made = " (makes a shop)" if isinstance(call, classmethod) else ""
        signature = (
            re.sub(r"<.*? object at .*?>", "SILENT", str(inspect.signature(bound)))
            .replace("'", "")
            .replace("(self, ", "(")
            .replace("(self)", "()")
        )
        parts += [
            f"## `{kind.__name__}.{name}{signature}`{made}",
            "",
            "```text",
            inspect.cleandoc(bound.__doc__),
            "```",
            "",
        ]
    return parts


def settings() -> str:
    from huaxiang.settings import Settings

    parts = [
        "# huaxiang.toml",
        "",
        "Every setting, its default and meaning. `HUAXIANG_SECTION__NAME` in the environment overrides one.",
        "",
    ]
    parts += section(Settings, "")
    return "\n".join(parts)


def section(model: type[BaseModel], path: str) -> list[str]:
    """The fields of a settings section as a table, then the sections inside it."""
    rows, inner = [], []
    for name, field in model.model_fields.items():
        shown = field.alias or name
        below, kind = found(field.annotation)
        if below is not None:
            place = f"{path}.{shown}" if path else shown
            heading = {"many": f"[[{place}]]", "named": f"[{place}.NAME]"}.get(kind, f"[{place}]")
            inner += [
                f"## {heading}",
                "",
                " ".join((below.__doc__ or "").split()),
                "",
                *section(below, f"{place}.NAME" if kind == "named" else place),
            ]
        else:
            default = "" if field.is_required() else repr(field.get_default(call_default_factory=True))
            rows.append(f"| `{shown}` | {default.replace('|', '∣')} | {field.description or ''} |")
    return [*(["| name | default | meaning |", "|---|---|---|", *rows, ""] if rows else []), *inner]


def found(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section inside an annotation, and whether it stands once, "many" times or by a "named" key."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    kind = {tuple: "many", list: "many", dict: "named"}.get(get_origin(annotation), "")
    for part in get_args(annotation):
        below, _ = found(part)
        if below is not None:
            return below, kind
    return None, ""


if __name__ == "__main__":
    sys.exit(main())
