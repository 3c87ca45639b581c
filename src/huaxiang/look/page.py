"""Self-contained HTML pages: one file, its styles inside, no request to anywhere, no script.

The language switch and the theme switch are radio buttons that the style sheet reads, so they work in a saved file, in a mail
attachment and under a strict content policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from huaxiang.words import Lang, Words

SHEETS = ("sheet.css", "profile.css", "report.css")


@cache
def sheet(*names: str) -> Markup:
    """The style sheets by these names, comments and idle blanks left out, ready to stand in <style>."""
    text = "".join(files("huaxiang.look").joinpath(name).read_text(encoding="utf-8") for name in names)
    while "/*" in text:
        before, _, rest = text.partition("/*")
        text = before + rest.partition("*/")[2]
    return Markup("\n".join(line.strip() for line in text.splitlines() if line.strip()))


@cache
def environment(*packages: str) -> Environment:
    """Templates of look and of `packages` (each has a folder `templates`); everything put in is escaped."""
    loaders: list[BaseLoader] = [PackageLoader(package) for package in ("huaxiang.look", *packages)]
    found = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.globals["words_in"] = Words
    return found


def render(template: str, *packages: str, lang: Lang, **values: Any) -> Markup:
    """A template filled, with `lang` and `words` (the catalogue in that language) at hand."""
    return Markup(environment(*packages).get_template(template).render(lang=lang, words=Words(lang), **values))


def page(
    title: str,
    bodies: Mapping[Lang, Markup],
    *,
    lang: Lang,
    headings: Mapping[Lang, tuple[str, str]],
    sheets: tuple[str, ...] = ("sheet.css",),
) -> str:
    """A whole page. bodies: one rendering a language (a switch appears for two); headings: what stands beside the seal."""
    return str(render("base.html", lang=lang, title=title, bodies=bodies, headings=headings, css=sheet(*sheets)))


def fragment(body: Markup, *, lang: Lang, sheets: tuple[str, ...] = ("sheet.css",)) -> str:
    """A piece for a foreign page (a notebook): its styles come with it and touch nothing else."""
    return f'<div class="hx embed" lang="{lang}"><style>{sheet(*sheets)}</style>{body}</div>'
