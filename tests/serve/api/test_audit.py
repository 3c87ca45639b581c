"""Every look at a customer is on disk before it is answered: who, by which scope, at whom, and what they were told."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from conftest import run_huaxiang
from huaxiang.errors import StoreError
from huaxiang.serve.api.audit import DAY_US, MIGRATIONS, PART, Look, find_looks, forget, write_looks
from huaxiang.serve.api.kept import Audit
from huaxiang.serve.api.keys import Keys
from huaxiang.store import Database, migrate, open_database
from served import Served, serve_shop
from servers import PostgresServer
from stores import new_url

USER = "1007"


def test_one_profile_is_one_look(served: Served) -> None:
    before = time.time_ns() // 1000
    found = served.get(f"/profiles/{USER}", key="service").json()
    look = served.last_look()
    assert before <= look["at"] <= time.time_ns() // 1000
    assert {**look, "id": 0, "at": 0} == {
        "id": 0, "at": 0, "key": "service", "scope": "service", "what": "profile", "user_id": found["user_id"], "count": 1,
        "personal": False, "status": 200,
    }  # fmt: skip


def test_a_personal_look_is_told_as_such(served: Served) -> None:
    served.get(f"/profiles/{USER}?personal=true", key="personal")
    look = served.last_look()
    assert (look["what"], look["personal"], look["status"]) == ("profile", True, 200)


def test_what_was_refused_or_not_found_is_kept_too(served: Served) -> None:
    served.get(f"/profiles/{USER}", key="admin")
    assert (served.last_look()["status"], served.last_look()["scope"]) == (403, "")
    served.get("/profiles/nobody-here")
    look = served.last_look()
    assert (look["status"], look["count"]) == (404, 0)
    assert look["user_id"] not in (None, "nobody-here")  # a pseudonym, even of nobody


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("explained", "explained"), ("explain/city", "explain"), ("events", "events"), ("recommendations", "recommendations"),
        ("intent", "intent"), ("uplift", "uplift"), ("guard", "guard"),
    ],
)  # fmt: skip
def test_each_route_about_one_customer_leaves_one_look(served: Served, path: str, what: str) -> None:
    before = served.looks()
    answer = served.get(f"/profiles/{USER}/{path}")
    look = served.last_look()
    assert served.looks() == before + 1
    assert (look["what"], look["status"], look["user_id"] is not None) == (what, answer.status_code, True)


def test_looks_at_many_are_found_by_each_of_them(served: Served) -> None:
    users = [one["user_id"] for one in served.post("/lookup", json={"users": [USER, "1008"]}).json()["profiles"]]
    look = served.last_look()
    assert (look["what"], look["user_id"], look["count"]) == ("profiles", None, 2)
    for user in users:
        (newest, *_) = served.get("/audit", params={"user": user}).json()["looks"]
        assert newest["id"] == look["id"]
    rows = served.get("/profiles?limit=7").json()["profiles"]
    assert (served.last_look()["what"], served.last_look()["count"]) == ("find", len(rows))
    members = served.get("/audiences/active_ones/members").json()["users"]
    assert (served.last_look()["what"], served.last_look()["count"]) == ("members", len(members))
    served.post("/audiences/preview", json={"when": "orders_90d > 1", "sample": 3})
    assert (served.last_look()["what"], served.last_look()["count"]) == ("preview", 3)


def test_what_is_about_no_customer_leaves_none(served: Served) -> None:
    before = served.looks()
    for path in ("/traits", "/quality", "/models", "/keys", "/audit", "/audiences"):
        assert served.get(path).status_code == 200
    served.ask("GET", "/health", key=None)
    assert served.looks() == before


def test_pages_of_the_audit_lose_none(served: Served) -> None:
    for _ in range(5):
        served.get(f"/profiles/{USER}")
    every = [one["id"] for one in served.client().audit(user=USER)]
    paged, before = [], None
    while True:
        page = served.get("/audit", params={"user": USER, "limit": 2} | ({"before": before} if before else {})).json()
        paged, before = paged + [one["id"] for one in page["looks"]], page["next"]
        if before is None:
            break
    assert paged == every == sorted(every, reverse=True)


def test_nothing_is_told_where_the_audit_cannot_be_written(bare: Served) -> None:
    assert bare.get(f"/profiles/{USER}").status_code == 200
    with bare.rooms.audit.database.transaction() as write:
        write.run("ALTER TABLE look RENAME TO gone")
    for path in (f"/profiles/{USER}", f"/profiles/{USER}?personal=true", f"/profiles/{USER}/events"):
        answer = bare.get(path)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:huaxiang:serve.audit_behind")
        assert "sections" not in answer.text and "person7" not in answer.text
    assert bare.get("/traits").status_code == 200
    with bare.rooms.audit.database.transaction() as write:
        write.run("ALTER TABLE gone RENAME TO look")
    assert bare.get(f"/profiles/{USER}").status_code == 200


def test_the_audit_is_on_disk_for_another_process_when_the_answer_comes(served: Served) -> None:
    found = served.get(f"/profiles/{USER}").json()["user_id"]
    with sqlite3.connect(served.folder / "live" / "audit.db") as file:
        assert file.execute("SELECT user_id FROM look ORDER BY id DESC LIMIT 1").fetchone() == (found,)
    file.close()


def test_the_command_shows_the_looks_at_one_customer(served: Served) -> None:
    found = served.get(f"/profiles/{USER}", key="service").json()["user_id"]
    shown = run_huaxiang("audit", str(served.folder), "--user", USER, "--limit", "1", "--json")
    (look,) = json.loads(shown.stdout)
    assert (look["key"], look["user_id"], look["what"]) == ("service", found, "profile")
    assert (
        f"service  service  profile  {found}  200" in run_huaxiang("audit", str(served.folder), "--limit", "1").stdout
    )


def looks(count: int, *, at: int = 10) -> list[Look]:
    return [Look("k", "profile", "service", [f"u{n}"], 1, status=200, at=at + n) for n in range(count)]


def test_both_databases_keep_and_forget_looks(database: Database) -> None:
    migrate(database, PART, MIGRATIONS)
    write_looks(database, [*looks(3), Look("k", "find", "profiling", ["u1", "u2", "u9"], 3, status=200, at=20)])
    assert [(one["what"], one["user_id"]) for one in find_looks(database, ["u2"])] == [
        ("find", None),
        ("profile", "u2"),
    ]
    assert [one["at"] for one in find_looks(database, since=12)] == [20, 12]
    assert forget(database, 20) == 3
    assert [one["what"] for one in find_looks(database)] == ["find"]
    assert forget(database, 21) == 1
    assert database.rows("SELECT count(*) FROM look_at_many") == [(0,)]


def test_looks_that_come_together_are_all_kept(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "store.db" if database.kind == "sqlite" else None
    migrate(database, PART, MIGRATIONS)
    keys = Keys(database)
    keys.add("k", ["service"], now=1)
    audit = Audit(database, keys=keys, file=file)

    async def go() -> None:
        await asyncio.gather(*(audit.append(look) for look in looks(500)))

    asyncio.run(go())
    assert len(find_looks(database)) == audit.looks == 500
    end = time.monotonic() + 10
    while keys.all()[0].last_used is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    audit.close()


def test_what_is_too_old_is_forgotten_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "audit.db"
    database = open_database(file, durable=False)
    migrate(database, PART, MIGRATIONS)
    write_looks(database, [*looks(2), *looks(1, at=time.time_ns() // 1000 - 2 * DAY_US)])
    audit = Audit(database, keep_days=3, file=file)
    end = time.monotonic() + 10
    while len(find_looks(database)) > 1:
        assert time.monotonic() < end
        time.sleep(0.05)
    audit.close()
    database.close()


def test_more_than_may_wait_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huaxiang.serve.api.kept.MOST_WAITING", 2)
    database = open_database(tmp_path / "audit.db")
    migrate(database, PART, MIGRATIONS)
    audit = Audit(database, file=tmp_path / "audit.db")

    async def go() -> None:
        waiting = [audit.append(look) for look in looks(2)]
        with pytest.raises(StoreError, match="cannot keep up"):
            audit.append(looks(1)[0])
        await asyncio.gather(*waiting)

    asyncio.run(go())
    audit.close()
    database.close()


def test_with_postgresql_keys_and_looks_are_kept_there(
    small_shop: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    shutil.copytree(small_shop, folder := tmp_path / "shop")
    with (folder / "huaxiang.toml").open("a", encoding="utf-8") as out:
        out.write(f'\n[live]\nstore = "{new_url(postgres)}"\n')
    with serve_shop(folder) as served:
        found = served.get(f"/profiles/{USER}", key="service").json()["user_id"]
        both = served.post("/lookup", json={"users": [USER, "1008"]}).json()["profiles"]
        assert [look["what"] for look in served.get("/audit", params={"user": both[1]["user_id"]}).json()["looks"]] == [
            "profiles"
        ]
        shown = run_huaxiang("audit", str(folder), "--user", USER, "--json")
        assert [(look["what"], look["user_id"]) for look in json.loads(shown.stdout)] == [
            ("profiles", None),
            ("profile", found),
        ]
        served.rooms.keys.close_key("service", now=2)
        assert served.get(f"/profiles/{USER}", key="service").status_code == 401
        postgres.stop()
        try:
            answer = served.get(f"/profiles/{USER}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "sections" not in answer.text
        finally:
            postgres.start()
        assert served.get(f"/profiles/{USER}").status_code == 200
    assert not (folder / "live" / "audit.db").exists()


def test_a_file_that_somebody_else_holds_refuses_soon_and_stops_nothing(bare: Served) -> None:
    assert bare.get(f"/profiles/{USER}").status_code == 200
    other = sqlite3.connect(bare.folder / "live" / "audit.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    answer = bare.get(f"/profiles/{USER}")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:huaxiang:store.busy")
    assert time.monotonic() - begin < 5
    other.execute("ROLLBACK")
    other.close()
    assert bare.get(f"/profiles/{USER}").status_code == 200
