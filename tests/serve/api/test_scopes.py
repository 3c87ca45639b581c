"""Which key may do what: the table of docs/api.md, asked route by route."""

from __future__ import annotations

import re

import pytest

from conftest import ROOT
from huaxiang.serve.api.roles import FIELDS, GROUPS, SCOPES, group_of
from served import Served

USER = "1007"
NOBODY = "nobody-of-ours"
# route → the scopes that may
MAY: dict[tuple[str, str], set[str]] = {
    ("GET", f"/profiles/{USER}"): {"profiling", "marketing", "service"},
    ("GET", f"/profiles/{USER}?personal=false"): {"profiling", "marketing", "service"},
    ("POST", "/lookup"): {"profiling"},
    ("GET", "/profiles"): {"profiling", "marketing"},
    ("GET", f"/profiles/{USER}/explained"): {"profiling", "service"},
    ("GET", f"/profiles/{USER}/explain/city"): {"profiling", "service"},
    ("GET", f"/profiles/{USER}/events"): {"profiling", "service"},
    ("GET", f"/profiles/{USER}/recommendations"): {"profiling", "marketing", "service"},
    ("GET", f"/profiles/{USER}/intent"): {"profiling", "service"},
    ("GET", f"/profiles/{USER}/uplift"): {"marketing"},
    ("GET", f"/profiles/{USER}/guard"): {"profiling", "admin"},
    ("GET", "/audiences"): {"profiling", "marketing"},
    ("GET", "/audiences/active_ones/members"): {"profiling", "marketing"},
    ("POST", "/audiences/preview"): {"profiling", "marketing"},
    ("GET", "/traits"): {"profiling", "marketing", "service", "admin"},
    ("GET", "/guard/queue"): {"admin"},
    ("POST", "/guard/cases/none/verdict"): {"admin"},
    ("DELETE", f"/profiles/{NOBODY}"): {"admin"},
    ("GET", "/quality"): {"admin"},
    ("GET", "/models"): {"admin"},
    ("GET", "/models/leaderboard"): {"admin"},
    ("GET", "/keys"): {"admin"},
    ("GET", "/audit"): {"admin"},
}
BODIES = {"/lookup": {"users": [USER]}, "/audiences/preview": {"when": "orders_90d > 1"}, "/guard/cases/none/verdict": {"verdict": "fine"}}  # fmt: skip


@pytest.mark.parametrize(("route", "may"), MAY.items(), ids=[f"{method} {path}" for method, path in MAY])
def test_a_key_may_what_its_scope_says_and_nothing_else(served: Served, route: tuple[str, str], may: set[str]) -> None:
    method, path = route
    for scope in ("profiling", "marketing", "service", "admin"):
        answer = served.ask(method, f"/api/v1{path}", key=scope, json=BODIES.get(path))
        if scope in may:
            assert answer.status_code in (200, 404, 409), (scope, answer.text)
        else:
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:huaxiang:serve.api_scope"), scope


@pytest.mark.parametrize("route", MAY, ids=[f"{method} {path}" for method, path in MAY])
@pytest.mark.parametrize("key", [None, "hxk_nobody"], ids=["none", "unknown"])
def test_without_a_key_every_route_is_401(served: Served, route: tuple[str, str], key: str | None) -> None:
    method, path = route
    answer = served.ask(method, f"/api/v1{path}", key=key, json=BODIES.get(path))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_route_of_openapi_stands_in_the_table_above(served: Served) -> None:
    told = served.ask("GET", "/api/openapi.json", key=None).json()["paths"]
    bare = {
        (method, re.sub(r"/(1007|nobody-of-ours|city|none|active_ones)(?=/|$)", "/{}", path.partition("?")[0]))
        for method, path in MAY
    }
    listed = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path.removeprefix("/api/v1")))
        for path, methods in told.items()
        if path.startswith("/api/v1")
        for method in methods
    }
    assert listed == bare


def test_the_docs_tell_the_same(served: Served) -> None:
    """Both tables of docs/api.md: who may ask what, and read which traits."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)`[^|]*\|(.*)\|$", text, re.MULTILINE)
    told = {name: [cell.strip() == "✓" for cell in cells.split("|")] for name, cells in rows}
    scopes = ("profiling", "marketing", "service", "admin")
    for (method, path), may in MAY.items():
        route = (
            re.sub(r"/(1007|nobody-of-ours)", "/{user}", path.partition("?")[0])
            .replace("/city", "/{trait}")
            .replace("/none", "/{case_id}")
        )
        assert told[f"{method} {route.replace('/active_ones', '/{name}')}"] == [scope in may for scope in scopes], path
    for group in GROUPS:
        assert told[group] == [group in FIELDS[scope] for scope in scopes[:3]], group


def test_a_scope_reads_its_groups_of_traits_only(served: Served) -> None:
    kinds = {"churn_30d": "binary", "spend_30d_predicted": "number"}
    for scope in ("profiling", "marketing", "service"):
        sections = served.get(f"/profiles/{USER}", key=scope).json()["sections"]
        names = [name for part in sections.values() for name in part]
        assert {group_of(name, kinds) for name in names} <= FIELDS[scope]
        assert {trait["group"] for trait in served.get("/traits", key=scope).json()["traits"]} <= FIELDS[scope]
    marketing = served.get(f"/profiles/{USER}", key="marketing").json()["sections"]
    assert "city" not in marketing["basic"] and "lifecycle" in marketing["basic"]
    assert "spend_90d" in marketing["behaviour"] and "night_share_90d" not in marketing["behaviour"]
    assert "similar_customers" not in served.get(f"/profiles/{USER}", key="service").json()["sections"]["social"]


def test_scopes_of_one_key_add_up(served: Served) -> None:
    served.keys["two"] = served.rooms.keys.add("two", ["marketing", "service"], now=1)
    names = [name for part in served.get(f"/profiles/{USER}", key="two").json()["sections"].values() for name in part]
    assert {"city", "spend_90d"} <= set(names)


def test_a_condition_may_not_read_what_the_key_may_not(served: Served) -> None:
    for where in ("city == 'Lyon'", "refund_share_365d > 0.5 or lifecycle == 'active'"):
        answer = served.get("/profiles", key="marketing", params={"where": where})
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:huaxiang:serve.api_fields")
        assert served.post("/audiences/preview", key="marketing", json={"when": where}).status_code == 403
    assert served.get("/profiles?fields=city", key="marketing").status_code == 403
    assert served.get("/profiles?fields=churn_30d_confidence", key="marketing").status_code == 200
    assert served.get("/profiles", key="marketing", params={"where": "churn_30d > 0.2"}).status_code == 200


def test_personal_values_need_their_scope_and_the_question(served: Served) -> None:
    assert served.get(f"/profiles/{USER}", key="personal").json().get("personal") is None
    said = served.get(f"/profiles/{USER}?personal=true", key="personal").json()["personal"]
    assert (said["email"], said["name"]) == ("person7@example.com", "Person 7")
    for key in ("profiling", "service", "marketing", "admin"):
        answer = served.get(f"/profiles/{USER}?personal=true", key=key)
        assert answer.status_code == 403
        assert "person7" not in answer.text.lower()


def test_explained_is_trimmed_to_the_scope_with_what_is_written_from_it(served: Served) -> None:
    whole, some = (served.get(f"/profiles/{USER}/explained", key=key).json() for key in ("profiling", "service"))
    names = {trait["name"] for part in some["sections"].values() for trait in part["traits"]}
    assert "similar_customers" in {trait["name"] for part in whole["sections"].values() for trait in part["traits"]}
    assert "similar_customers" not in names and "persona" not in names
    assert all(set(said["cites"]) <= names for said in some["persona"])
    assert (whole["embedding"] is None, some["embedding"]) == (False, None)
    assert served.get(f"/profiles/{USER}/explain/similar_customers", key="service").status_code == 404


def test_every_scope_and_group_is_used() -> None:
    assert set(FIELDS) == set(SCOPES)
    assert frozenset().union(*FIELDS.values()) == set(GROUPS)
