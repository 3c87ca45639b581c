"""A backup taken while the shop lives, brought back whole; a file that is not to be trusted brings nothing back."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import stat
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import run_huaxiang
from huaxiang.errors import ShopError, StoreError
from huaxiang.serve.archive import MANIFEST
from huaxiang.serve.backup import back_up, restore
from huaxiang.serve.doctor import examine
from huaxiang.serve.log import make_request
from huaxiang.serve.open import Running, open_running
from huaxiang.serve.wire.message import encode, read_batch
from huaxiang.shop import Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(small_shop, tmp_path / "shop")
    with Shop.open(tmp_path / "shop") as opened:
        yield opened


def send(running: Running, number: int) -> None:
    message = {"type": "track", "userId": f"u{number % 7}", "event": "Order Completed", "messageId": f"m{number}", "properties": {"order_id": str(number), "product_id": "sku-1", "price": 2}}  # fmt: skip
    body = encode({"batch": [message]})
    running.committer.put(make_request("web", time.time_ns() // 1000, body, *read_batch(body)))


def test_what_was_acknowledged_before_a_backup_began_is_in_it(shop: Shop, tmp_path: Path) -> None:
    """Sent and folded on while the backup is taken, and steps of the journey write the lake; the restored shop folds on."""
    sent, ended = [0], threading.Event()
    with open_running(shop) as running:

        def go_on() -> None:
            while not ended.is_set():
                send(running, sent[0])
                sent[0] += 1

        def step_on() -> None:
            with Shop.open(shop.folder) as own:
                while not ended.wait(0.2):
                    with contextlib.suppress(ShopError):  # the backup is making its links
                        own.clean()

        others = [threading.Thread(target=go_on), threading.Thread(target=step_on)]
        for one in others:
            one.start()
        while sent[0] < 100:
            time.sleep(0.01)
        acknowledged = sent[0]
        done = back_up(shop, tmp_path / "b.tar.zst")
        ended.set()
        for one in others:
            one.join()
    assert done.elsewhere == ""
    assert sent[0] > acknowledged
    restore(tmp_path / "b.tar.zst", tmp_path / "again")
    with Shop.open(tmp_path / "again") as again, open_running(again) as running:
        assert again.lake.lost() == []
        assert again.lake.rows("clean.events") == shop.lake.rows("clean.events")
        bodies = b"".join(entry.body for entry in running.log.read(0, most=100_000))
        assert all(f'"m{number}"'.encode() in bodies for number in range(acknowledged))
        send(running, acknowledged - 1)  # its id is known
        send(running, 10**9)
        worker = running.worker
        assert worker is not None
        end = time.monotonic() + 30
        while worker.lag() and time.monotonic() < end:
            time.sleep(0.02)
        kept = [one for entry in running.log.read(0, most=100_000) for one in read_batch(entry.body)[0].batch]
        assert len({one.messageId for one in kept}) == len(kept)
        own = again.live()
        orders = sum(own.values(again.pseudonyms().of(f"u{n}"), _tomorrow())["orders_7d"] for n in range(7))
        own.close()
    assert {one.check: one.what("en") for one in examine(tmp_path / "again", now=time.time_ns() // 1000) if one.status != "ok"} == {}  # fmt: skip
    assert orders == len(kept)  # those after the backup's states were folded on


def _tomorrow() -> object:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(days=1)).date()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.zst"])
def test_the_file_is_the_owners_alone_and_so_are_keys_and_vault_afterwards(
    shop: Shop, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"b{ending}"
    back_up(shop, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with pytest.raises(ShopError, match="already"):
        back_up(shop, out)
    restore(out, tmp_path / "again")
    modes = {name: stat.S_IMODE((tmp_path / "again" / name).stat().st_mode) for name in ("keys", "keys/vault.key", "vault.db")}  # fmt: skip
    assert modes == {"keys": 0o700, "keys/vault.key": 0o600, "vault.db": 0o600}
    assert _left(tmp_path) == ["again", out.name, "shop"]
    assert not list(shop.folder.glob(".backup*"))


def test_the_keys_may_stay_at_home(shop: Shop, tmp_path: Path) -> None:
    said = run_huaxiang("backup", str(shop.folder), str(tmp_path / "b.tar.gz"), "--without-keys")
    assert "NOT in it" in said.stdout
    assert "KEYS beside the data" in run_huaxiang("backup", str(shop.folder), str(tmp_path / "k.tar")).stdout
    said = run_huaxiang("restore", str(tmp_path / "b.tar.gz"), str(tmp_path / "again"))
    assert "holds no keys" in said.stdout
    assert not (tmp_path / "again" / "keys").exists()
    refused = run_huaxiang("restore", str(tmp_path / "b.tar.gz"), str(tmp_path / "again"), lang="zh_CN.UTF-8")
    assert (refused.returncode, "不是空文件夹" in refused.stderr) == (1, True)


def test_of_a_postgresql_store_the_rest_is_saved_and_the_command_for_it_said(shop: Shop, tmp_path: Path) -> None:
    toml = shop.folder / "huaxiang.toml"
    toml.write_text(toml.read_text() + '\n[live]\nstore = "postgresql://me:secret@db.example/live"\n')
    said = run_huaxiang("backup", str(shop.folder), str(tmp_path / "b.tar"))
    assert "pg_dump" in said.stdout
    assert "db.example/live" in said.stdout.replace("\n", "")
    assert "secret" not in said.stdout


def _file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def _link(name: str, to: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


@pytest.mark.parametrize(
    "member",
    [
        _file("../evil"),
        _file("lake/../../evil"),
        _file("/tmp/evil"),
        _file("lake\\..\\evil"),
        _file("./huaxiang.toml"),
        _file("evil.sh"),
        _link("lake/a", "/etc/passwd", tarfile.SYMTYPE),
        _link("lake/a", "huaxiang.toml", tarfile.LNKTYPE),
        _link("lake/a", "", tarfile.FIFOTYPE),
        _link("lake", "", tarfile.DIRTYPE),
        _file("huaxiang.toml"),
    ],
    ids=["up", "inner up", "absolute", "backslash", "dot", "unknown", "symlink", "hardlink", "fifo", "folder", "twice"],
)
def test_a_member_that_leads_out_brings_nothing_back(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for info, content in (_file("huaxiang.toml"), member):
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ShopError, match="no backup of huaxiang holds"):
        restore(tmp_path / "b.tar", tmp_path / "again")
    assert _left(tmp_path) == ["b.tar"]


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    at = content.index(b"PAR1") + 100
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _lie(content: bytes) -> bytes:
    """A manifest that names a file more."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar, tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as to:
        for member in tar:
            text = tar.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == MANIFEST:
                said = json.loads(text)
                said["files"]["lake/more"] = ["0", 1]
                text = json.dumps(said).encode()
                member.size = len(text)
            to.addfile(member, io.BytesIO(text))
    return out.getvalue()


@pytest.mark.parametrize("harm", [_cut, _flip, _lie, lambda _: b"", lambda _: b"nothing" * 1_000])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.zst"])
def test_a_damaged_file_brings_nothing_back(
    shop: Shop, tmp_path: Path, harm: Callable[[bytes], bytes], ending: str
) -> None:
    out = tmp_path / ("b.tar" if harm in (_flip, _lie) else f"b{ending}")
    back_up(shop, out)
    out.write_bytes(harm(out.read_bytes()))
    (tmp_path / "again").mkdir()
    with pytest.raises(ShopError, match="damaged"):
        restore(out, tmp_path / "again")
    assert _left(tmp_path) == ["again", out.name, "shop"]
    assert not list((tmp_path / "again").iterdir())


def test_a_damaged_store_is_no_backup(shop: Shop, tmp_path: Path) -> None:
    (shop.folder / "live").mkdir()
    (shop.folder / "live" / "store.db").write_bytes(b"SQLite format 3\0" + b"x" * 10_000)
    with pytest.raises(StoreError, match="damaged"):
        back_up(shop, tmp_path / "b.tar")
    assert _left(tmp_path) == ["shop"]
    assert not list(shop.folder.glob(".backup*"))


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
