"""The doctor: a well shop is told so; each illness is found and its mend said, in both languages."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import run_huaxiang
from huaxiang.serve.doctor import Finding, examine
from huaxiang.serve.log import make_request
from huaxiang.serve.open import open_running
from huaxiang.serve.pull.positions import Positions
from huaxiang.serve.wire.message import encode, read_batch
from huaxiang.shop import Shop
from huaxiang.words import LANGS

NOW = time.time_ns() // 1000
HOUR = 3_600_000_000
PULL = '\n[live.pull.till]\nkind = "folder"\npath = "nowhere"\n'


@pytest.fixture(scope="module")
def lived(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that has served a while, with a run of ids on disk. Read only."""
    folder = tmp_path_factory.mktemp("lived") / "shop"
    shutil.copytree(small_shop, folder)
    with (folder / "huaxiang.toml").open("a") as more:
        more.write(PULL)
    with Shop.open(folder) as shop, open_running(shop) as running:
        running.log._met._ids._run = 2  # type: ignore[attr-defined]
        for number in range(5):
            message = {"type": "track", "userId": "ann", "event": "Search", "messageId": str(number)}
            body = encode({"batch": [message, message | {"messageId": f"x{number}"}]})
            running.committer.put(make_request("web", NOW, body, *read_batch(body)))
        end = time.monotonic() + 30
        while not (running.worker and running.worker.lag() == 0 and running.pullers.all[0].error):
            assert time.monotonic() < end
            time.sleep(0.02)
        Positions(running.store, running.pullers.all[0]._positions._seal).tell("till", "", NOW)
    return folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path) -> Path:
    shutil.copytree(lived, tmp_path / "shop")
    return tmp_path / "shop"


def not_well(found: list[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in found if one.status != "ok"}


def test_a_well_shop_is_told_so(folder: Path) -> None:
    for quick in (True, False):
        found = examine(folder, now=NOW, quick=quick)
        assert not_well(found) == {}
        assert [one.check for one in found] == ["settings", "keys", "disk", "lake", "models", "vault", "store", "layout", "log", "ids", "clock", "states", "worker", "quarantine", "sources", "pulls"]  # fmt: skip
        assert all(one.what(lang) for one in found for lang in LANGS)


def test_a_shop_that_was_only_made_is_no_patient(tmp_path: Path, folder: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "huaxiang.toml").write_text((folder / "huaxiang.toml").read_text())
    assert {check: one.status for check, one in not_well(examine(new, now=NOW)).items()} == {"lake": "warn", "models": "warn"}  # fmt: skip


def sql(path: str, statement: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with sqlite3.connect(folder / path) as database:
            database.execute(statement)
        database.close()

    return change


def write(path: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / path).write_bytes(content) and None


def remove(pattern: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (next(iter(sorted(folder.glob(pattern))))).unlink()

    return change


def spoil(path: str, at: float) -> Callable[[Path], None]:
    """Writes over some bytes in a file."""

    def change(folder: Path) -> None:
        (found,) = list(folder.glob(path))[:1]
        size = found.stat().st_size
        with found.open("r+b") as content:
            content.seek(int(max(0, size - 4096) * at))
            content.write(b"\xa5" * min(4096, size))

    return change


def append(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / "huaxiang.toml").open("a") as more:
            more.write(text)

    return change


def full_of_refused(folder: Path) -> None:
    sql(
        "live/store.db",
        "INSERT INTO refused (source, received_at, stage, reason, body) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) SELECT 'web', i, 'map', 'time', x'00' FROM n",
    )(folder)


SAID = '{"key": "serve.pull_no_folder", "values": {"folder": "/nowhere"}}'


@pytest.mark.parametrize(
    ("harm", "check", "status", "what", "mend"),
    [
        (append("\n[live.nonsense]\na = 1\n"), "settings", "bad", "nonsense", ""),
        (remove("keys/vault.key"), "keys", "bad", "vault.key", ""),
        (lambda folder: (folder / "keys").chmod(0o755), "keys", "warn", "mode 755", "chmod 700"),
        (lambda folder: (folder / "keys" / "vault.key").chmod(0o644), "keys", "bad", "644", ""),
        (write("keys/vault.key", b"o" * 32), "vault", "bad", "vault", ""),
        (write("keys/vault.key", b"o" * 32), "log", "bad", "another key", "bring back"),
        (remove("lake/clean/events/*.parquet"), "lake", "bad", "clean.events", "makes them anew"),
        (remove("lake/raw/events/*.parquet"), "lake", "bad", "raw.events", "restore"),
        (spoil("lake/clean/events/*.parquet", 1.0), "lake", "bad", "clean.events", "makes them anew"),
        (remove("models/churn_30d/*/card.json"), "models", "bad", "churn_30d", "huaxiang train"),
        (write("vault.db", b"x" * 9_000), "vault", "bad", "vault", ""),
        (write("live/store.db", b"x" * 9_000), "store", "bad", "is damaged", "restore"),
        (sql("live/store.db", "UPDATE layout SET number = 99 WHERE part = 'log'"), "layout", "bad", "newer", "upgrade"),
        (sql("live/store.db", "UPDATE layout SET number = 0 WHERE part = 'pull'"), "layout", "warn", "pull", "next start"),
        (sql("live/store.db", "UPDATE request SET body = x'0011' WHERE id = 3"), "log", "bad", "damaged", "key"),
        (sql("live/store.db", f"UPDATE request SET received_at = {NOW + HOUR // 2} WHERE id = 2"), "clock", "warn", "30 minutes", "timedatectl"),
        (sql("live/store.db", f"UPDATE request SET received_at = {NOW + 2 * HOUR} WHERE id = 2"), "clock", "bad", "120 minutes", "timedatectl"),
        (sql("live/store.db", "DELETE FROM request WHERE id > 1"), "ids", "warn", "another log", "anew"),
        (write("live/ids/1-1-1.ids", b"x"), "ids", "bad", "1-1-1", "anew"),
        (sql("live.db", "UPDATE about SET value = '1'"), "states", "bad", "", ""),
        (sql("live.db", "UPDATE applied SET upto = 1"), "worker", "warn", "4 requests wait", "huaxiang serve"),
        (write("live.db", b"x" * 9_000), "states", "bad", "damaged", "restore"),
        (full_of_refused, "quarantine", "warn", "12 messages: time 12", "replay"),
        (append('[live]\nstore = "postgresql://reader:secret@127.0.0.1:1/x"\n'), "store", "bad", "does not answer", "check that it runs"),
        (sql("live/store.db", f"UPDATE pull_state SET error = '{SAID}'"), "pulls", "warn", "/nowhere", "make it"),
    ],
)  # fmt: skip
def test_an_illness_is_found_and_its_mend_said(
    folder: Path, harm: Callable[[Path], None], check: str, status: str, what: str, mend: str
) -> None:
    harm(folder)
    now = NOW + HOUR if check == "worker" else NOW
    found = not_well(examine(folder, now=now))[check]
    assert (found.status, what in found.what("en"), mend in found.mend("en")) == (status, True, True)
    assert found.what("zh") != found.what("en")
    assert found.mend("zh")
    assert "secret" not in found.what("en") + found.mend("en")


def test_no_source_is_found(folder: Path) -> None:
    sql("live/store.db", "UPDATE source SET closed_at = 1")(folder)
    toml = folder / "huaxiang.toml"
    toml.write_text(toml.read_text().replace(PULL, ""))
    assert set(not_well(examine(folder, now=NOW))) == {"sources"}


@pytest.mark.parametrize(("free", "status"), [(400 << 20, "bad"), (600 << 20, "ok")])
def test_a_disk_that_is_nearly_full_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, free))
    assert {one.check: one.status for one in examine(folder, now=NOW, quick=True)}["disk"] == status


def test_the_index_of_ids_that_cannot_be_read_is_made_anew_at_the_next_start(folder: Path) -> None:
    spoil("live/ids/*.ids", 0.0)(folder)
    assert "ids" in not_well(examine(folder, now=NOW))
    with Shop.open(folder) as shop, open_running(shop, work=False) as running:
        body = encode({"batch": [{"type": "track", "userId": "ann", "event": "Search", "messageId": n} for n in ("0", "x3", "new")]})  # fmt: skip
        assert running.committer.put(make_request("web", NOW, body, *read_batch(body))) == 1
    assert not_well(examine(folder, now=NOW)) == {}


def test_the_command_ends_with_1_where_something_is_bad_and_runs_beside_a_server(folder: Path) -> None:
    with Shop.open(folder) as shop, open_running(shop, work=False):
        said = run_huaxiang("doctor", str(folder), "--quick", "--json")
        assert (said.returncode, {one["status"] for one in json.loads(said.stdout)}) == (0, {"ok"})
    remove("lake/clean/events/*.parquet")(folder)
    said = run_huaxiang("doctor", str(folder), lang="zh_CN.UTF-8")
    assert said.returncode == 1
    assert "✗ lake: clean.events 的文件丢失或损坏" in said.stdout
    assert f"→ huaxiang run {folder}" in said.stdout.replace("\n", "")
