"""What is wrong with the words of a command line, in the form of every other refusal."""

from __future__ import annotations

import re
from typing import Any

import typer

from huaxiang.errors import HuaxiangError

UsageError: Any = typer.BadParameter.__bases__[0]  # typer names only the one below it


def usage_refusal(error: Any) -> HuaxiangError:
    """What typer found wrong, and how the command is called.

    error: a UsageError; of what a command itself found wrong with its words, the message is how it is called
    """
    command = error.ctx.command_path if error.ctx is not None else "huaxiang"
    message, param = error.message or "", getattr(error, "param", None)
    name = _name_of(param) if param is not None else ""
    kind = type(error).__name__
    if kind == "NoSuchOption":
        near = ", ".join(sorted(error.possibilities or ())) or "--help"
        return HuaxiangError("usage.no_option", name=error.option_name, command=command, near=near)
    if kind == "MissingParameter":
        return HuaxiangError("usage.missing", name=name, command=command)
    if found := re.fullmatch(r"No such command '(.*?)'\.?.*", message, re.DOTALL):
        return HuaxiangError("usage.no_command", name=found[1], command=command)
    if found := re.fullmatch(r"Got unexpected extra argument\(?s?\)? \((.*)\)", message, re.DOTALL):
        return HuaxiangError("usage.extra", names=found[1], command=command)
    if found := re.fullmatch(r"\w+ '(.*)' does not exist\.", message, re.DOTALL):
        return HuaxiangError("usage.no_file", name=name, path=found[1])
    if kind == "BadParameter" and not name:
        return HuaxiangError("usage.words", command=command, usage=message)
    return HuaxiangError("usage.value", name=name or command, detail=message, command=command)


def _name_of(param: Any) -> str:
    """As the person writes it: --as-of, or SHOP."""
    return max(param.opts, key=len) if param.param_type_name == "option" else (param.metavar or param.name.upper())
