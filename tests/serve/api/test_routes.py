"""Each route answers what the shop itself says."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from apply.predict.test_intent import draw_sessions
from huaxiang.apply.predict.intent import learn_sessions
from huaxiang.shop import Shop
from served import Served

USER = "1007"


@pytest.fixture(scope="module")
def truth(served: Served) -> Any:
    """What the shop says of USER without a server."""
    with Shop.open(served.folder) as shop:
        user = shop.pseudonym(USER)
        profiles = shop.engine.sql(shop.lake.table("profiles"))
        row = shop.engine.rows(f"SELECT * FROM ({profiles}) WHERE user_id = '{user}'")[0]
        return {"user": user, "row": row, "document": shop.profile(USER).to_dict()}


def test_one_profile_is_the_row_of_the_last_build_by_section(served: Served, truth: Any) -> None:
    found = served.get(f"/profiles/{USER}").json()
    assert found["user_id"] == truth["user"]
    assert found["as_of"] == "2024-10-08T00:00:00Z"
    assert found["updated_at"].startswith("20")
    parts = found["sections"]
    assert parts["behaviour"]["orders_total"] == {"value": truth["row"]["orders_total"], "unit": "orders", "source": "computed", "confidence": 1.0, "expires": "2024-11-07T00:00:00Z"}  # fmt: skip
    assert parts["basic"]["city"] == {
        "value": "Lyon",
        "unit": "",
        "source": "declared",
        "confidence": 1.0,
        "expires": None,
    }
    assert parts["predictions"]["churn_30d"]["source"] == "predicted"
    assert parts["predictions"]["churn_30d"]["confidence"] == pytest.approx(
        truth["row"]["churn_30d_confidence"], abs=1e-3
    )
    assert "personal" not in found or found["personal"] is None


def test_every_trait_of_the_explained_document_that_the_row_has_is_the_same_here(served: Served, truth: Any) -> None:
    quick = {name: trait for part in served.get(f"/profiles/{USER}").json()["sections"].values() for name, trait in part.items()}  # fmt: skip
    slow = {trait["name"]: trait for part in truth["document"]["sections"].values() for trait in part["traits"]}
    assert set(slow) - set(quick) == {"rhythm", "persona"}  # made from the events, not from the row
    assert set(quick) - set(slow) == set()
    for name, trait in quick.items():
        if name not in ("next_items", "similar_customers"):  # these gain titles and a confidence of the model
            same = ["value", "unit", "source", "expires"] + ["confidence"] * (trait["confidence"] is not None)
            assert {at: trait[at] for at in same} == {at: slow[name][at] for at in same}


def test_the_pseudonym_names_the_same_customer(served: Served, truth: Any) -> None:
    assert served.get(f"/profiles/{truth['user']}").json() == served.get(f"/profiles/{USER}").json()


def test_the_quick_way_and_the_route_say_the_same(served: Served) -> None:
    routed = served.get(f"/profiles/{USER}?personal=false").json()
    assert routed | {"personal": None} == served.get(f"/profiles/{USER}").json() | {"personal": None}


def test_many_profiles_come_in_the_order_asked_for_with_null_for_nobody(served: Served, truth: Any) -> None:
    found = served.post("/lookup", json={"users": [USER, "nobody", truth["user"], "1008"]}).json()["profiles"]
    assert [None if one is None else one["user_id"] for one in found][:3] == [truth["user"], None, truth["user"]]
    assert found[3]["user_id"] not in (None, truth["user"])


def test_find_gives_pages_that_are_all_who_meet_the_condition(served: Served) -> None:
    where = "lifecycle == 'active' and spend_90d > 100"
    first = served.get("/profiles", params={"where": where, "limit": 10, "count": "true", "fields": ["spend_90d", "lifecycle"]}).json()  # fmt: skip
    assert len(first["profiles"]) == 10
    assert all(row["spend_90d"] > 100 and row["lifecycle"] == "active" for row in first["profiles"])
    users, after = [row["user_id"] for row in first["profiles"]], first["next"]
    while after is not None:
        page = served.get("/profiles", params={"where": where, "limit": 10, "after": after}).json()
        users, after = users + [row["user_id"] for row in page["profiles"]], page["next"]
    assert len(users) == len(set(users)) == first["count"]


def test_find_without_fields_tells_a_few_and_an_unknown_field_is_named(served: Served) -> None:
    assert set(served.get("/profiles?limit=1").json()["profiles"][0]) == {"user_id", "lifecycle", "value_tier", "recency_days", "orders_90d", "spend_90d"}  # fmt: skip
    answer = served.get("/profiles?fields=spnd")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:huaxiang:serve.api_no_field")


def test_explained_is_the_document_of_the_shop(served: Served, truth: Any) -> None:
    assert served.get(f"/profiles/{USER}/explained").json() == truth["document"]


def test_explain_gives_one_trait_with_its_evidence(served: Served, truth: Any) -> None:
    found = served.get(f"/profiles/{USER}/explain/orders_90d").json()["trait"]
    assert found["evidence"]["count"] > 0
    assert found["evidence"]["meaning"]["en"]
    assert served.get(f"/profiles/{USER}/explain/nothing").status_code == 404


def test_events_come_newest_first_and_pages_lose_none(served: Served, truth: Any) -> None:
    every = list(served.client().events(USER))
    assert len(every) == truth["document"]["sections"]["basic"]["traits"][0]["evidence"]["count"]
    assert [one["ts"] for one in every] == sorted((one["ts"] for one in every), reverse=True)
    paged, before = [], None
    while True:  # 5 a page: orders have two lines, so that pages end within one moment
        page = served.get(
            f"/profiles/{USER}/events", params={"limit": 5} | ({"before": before} if before else {})
        ).json()
        paged, before = paged + page["events"], page["next"]
        if before is None:
            break
    assert paged == every
    assert list(served.client().events(USER, event="view")) == []


def test_recommendations_are_those_of_the_shop(served: Served, truth: Any) -> None:
    found = served.get(f"/profiles/{USER}/recommendations?place=again&count=3").json()
    with Shop.open(served.folder) as shop:
        asked = shop.recommend.show(truth["user"], place="again", count=3)
    assert [one["item_id"] for one in found["items"]] == [one.item_id for one in asked]
    beside = served.get(f"/profiles/{USER}/recommendations?place=item&item=sku-3")
    assert beside.status_code == 200 and beside.json()["items"]
    assert served.get(f"/profiles/{USER}/recommendations?place=item").json()["type"] == "urn:huaxiang:recommend.beside"
    assert served.get(f"/profiles/{USER}/recommendations?place=item&item=sku-nothing").status_code == 404


def test_audiences_members_and_a_preview(served: Served) -> None:
    (audience,) = served.get("/audiences").json()["audiences"]
    assert (audience["name"], audience["size"]) == ("active_ones", 46)
    first = served.get("/audiences/active_ones/members?limit=40").json()
    rest = served.get(f"/audiences/active_ones/members?limit=40&after={first['next']}").json()
    assert (len(first["users"]), len(rest["users"]), rest["next"], first["size"]) == (40, 6, None, 46)
    preview = served.post("/audiences/preview", json={"when": "lifecycle == 'active'", "sample": 2}).json()
    assert (preview["size"], preview["customers"], len(preview["sample"])) == (46, 60, 2)
    assert served.get("/audiences/nobodies/members").status_code == 404


def test_guard_tells_its_decision_its_queue_and_takes_a_verdict(served: Served) -> None:
    cases = served.get("/guard/queue").json()["cases"]
    assert cases and all(case["verdict"] is None for case in cases)
    case = cases[0]
    decision = served.get(f"/profiles/{case['user_id']}/guard").json()
    assert (decision["scored"], decision["action"]) == (True, case["action"])
    closed = served.post(f"/guard/cases/{case['case_id']}/verdict", json={"verdict": "fine"}).json()
    assert (closed["verdict"], closed["decided_at"][:2]) == ("fine", "20")
    assert case["case_id"] not in [one["case_id"] for one in served.get("/guard/queue").json()["cases"]]
    assert served.post("/guard/cases/none/verdict", json={"verdict": "fine"}).status_code == 404


def test_quality_models_leaderboard_and_traits(served: Served) -> None:
    assert served.get("/quality").json()["tables"]
    assert {card["outcome"] for card in served.get("/models").json()["cards"]} >= {"churn_30d"}
    assert served.get("/models/leaderboard").json()["boards"]
    traits = {trait["name"]: trait for trait in served.get("/traits").json()["traits"]}
    assert traits["spend_90d"]["label"] == {"en": "Spend, last 90 days", "zh": "近 90 天消费"}
    assert traits["spend_90d"]["unit"] == "USD"


def test_health_and_openapi_need_no_key(served: Served) -> None:
    assert served.ask("GET", "/health", key=None).json()["status"] == "ok"
    told = served.ask("GET", "/api/openapi.json", key=None).json()
    assert told["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", ["recommendations", "intent", "uplift", "guard"])
def test_what_the_shop_has_not_done_yet_is_409_with_the_mend(bare: Served, path: str) -> None:
    answer = bare.get(f"/profiles/{USER}/{path}")
    assert answer.status_code == 409
    assert answer.json()["mend"]


def test_unknown_customers_are_404_everywhere(served: Served) -> None:
    for path in ("", "/explained", "/explain/city", "/events", "/recommendations", "/uplift", "/guard"):
        answer = served.get(f"/profiles/nobody-here{path}")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:huaxiang:profile.unknown_user"), path


def test_a_new_build_is_seen_within_seconds(bare: Served) -> None:
    before = bare.get(f"/profiles/{USER}").json()
    with Shop.open(bare.folder) as shop:
        shop.build(as_of=date(2024, 8, 1))
        shop.profiles()
    end = time.monotonic() + 60
    while (after := bare.get(f"/profiles/{USER}").json())["as_of"] == before["as_of"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert after["as_of"] == "2024-08-01T00:00:00Z"


def test_intent_follows_the_running_session(bare: Served) -> None:
    began = datetime.now(UTC) - timedelta(minutes=2)
    bare.send("Product Viewed", "v1", userId=USER, timestamp=began.isoformat())
    assert bare.get(f"/profiles/{USER}/intent").status_code == 409  # nothing was learned yet
    intent, _ = learn_sessions(draw_sessions(600, seed=1), seed=1)
    (bare.folder / "models" / "intent.json").write_text(intent.to_json(), encoding="utf-8")
    viewed = bare.get(f"/profiles/{USER}/intent").json()
    assert (viewed["running"], viewed["events"], len(viewed["why"])) == (True, 1, 5)
    bare.send("Product Added", "c1", userId=USER, timestamp=(began + timedelta(minutes=1)).isoformat())
    carted = bare.get(f"/profiles/{USER}/intent").json()
    assert carted["events"] == 2
    assert carted["chance"] > viewed["chance"]
    assert bare.get("/profiles/1008/intent").json()["running"] is False
    assert [one["event"] for one in bare.get(f"/profiles/{USER}/events?limit=2").json()["events"]] == [
        "add_to_cart",
        "view",
    ]
    bare.send("Product Viewed", "n1", anonymousId="somebody-new")
    assert bare.get("/profiles/somebody-new/intent").json()["running"] is True
    assert bare.get("/profiles/nobody-here/intent").status_code == 404
