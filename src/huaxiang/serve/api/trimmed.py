"""The explained document, cut to what a key may read."""

from __future__ import annotations

from typing import Any

from huaxiang.profile.traits import BY_NAME, DECLARED
from huaxiang.serve.api.documents import Catalogue
from huaxiang.serve.api.roles import GROUPS, Group, group_of


def trim(document: dict[str, Any], catalogue: Catalogue, groups: frozenset[Group]) -> dict[str, Any]:
    """`document` without the traits of other groups, and without what is written from them."""
    if groups >= frozenset(GROUPS):
        return document
    kept: set[str] = set()
    sections = {}
    for section, part in document["sections"].items():
        traits = [one for one in part["traits"] if _group(section, one["name"], catalogue) in groups]
        kept |= {one["name"] for one in traits}
        sections[section] = part | {"traits": [one for one in traits if one["name"] != "persona"]}
    persona = [said for said in document["persona"] if set(said["cites"]) <= kept]
    return document | {"sections": sections, "persona": persona, "embedding": None}


def _group(section: str, name: str, catalogue: Catalogue) -> Group:
    if section == "basic" and name not in BY_NAME and name not in DECLARED:
        return "declared"  # an attribute of the shop's own
    return "tags" if section == "persona" else group_of(name, catalogue.kinds)
