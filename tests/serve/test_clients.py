"""Real, unmodified clients send to a real `huaxiang serve`: what arrives equals what was sent, once each.

The clients are installed from PyPI and npm into folders of their own, once (clients/requirements.txt, clients/package.json).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from huaxiang.serve.log import Log, Seal
from huaxiang.serve.map import Mapper, Rows, map_entries
from huaxiang.serve.open import open_store, vault_key
from huaxiang.shop import Shop
from servers import free_port

HERE = Path(__file__).parent / "clients"
# item, order, quantity, price, amount
VIEW = ("view", "p-1", None, None, 10.0)
LINES = [("purchase", "p-1", "o-1", 2.0, 10.0), ("purchase", "p-2", "o-1", 1.0, 5.0)]


@dataclass(frozen=True)
class Served:
    folder: Path
    host: str
    key: str

    def rows(self) -> tuple[Rows, int]:
        """What has arrived, mapped; and how many messages were refused."""
        with Shop.open(self.folder) as shop:
            store = open_store(shop)
            log = Log(store, Seal(vault_key(shop)), self.folder / "ids-of-the-test")
            mapper = Mapper(shop.pseudonyms(create=True), shop.settings.live)
            rows = map_entries(mapper, log.read(0, most=1_000))
            refused = sum(log.refusals().values())
            store.close()
        return rows, refused

    def pseudonym(self, user: str) -> str:
        with Shop.open(self.folder) as shop:
            return shop.pseudonyms(create=True).of(user)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "huaxiang.toml").write_text('[shop]\nname = "clients"\n')
    port = free_port()
    command = [sys.executable, "-m", "huaxiang.cli", "serve", str(tmp_path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        host = f"http://127.0.0.1:{port}"
        await_answer(f"{host}/health", process)
        listed = subprocess.run(
            [sys.executable, "-m", "huaxiang.cli", "source", "list", str(tmp_path), "--json"],
            capture_output=True,
            check=True,
        )
        yield Served(tmp_path, host, json.loads(listed.stdout)[0]["write_key"])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def await_answer(url: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < end, "huaxiang serve did not start"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def python_clients() -> Path:
    """A Python that has the clients."""
    folder = Path(sys.prefix) / "clients-python"
    done = folder / ".done"
    wanted = (HERE / "requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", str(HERE / "requirements.txt")], check=True, timeout=600)
        done.write_text(wanted)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def node_clients() -> Path:
    """A folder with node_modules and the scripts."""
    if shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    folder = Path(sys.prefix) / "clients-node"
    done = folder / ".done"
    wanted = (HERE / "package.json").read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(HERE / "package.json", folder)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True, timeout=600
        )
        done.write_text(wanted)
    for script in ("send.mjs", "page.html"):
        shutil.copy(HERE / script, folder)
    return folder


def check_journey(served: Served, *, traits: bool = True) -> Rows:
    """The journey of clients/send.py has arrived: each event once, in order, under the customer's pseudonym."""
    rows, refused = served.rows()
    assert refused == 0 and not rows.refused and not rows.unknown
    found = rows.table().to_pylist()
    names = [(row["event"], row["item_id"], row["order_id"], row["quantity"], row["price"]) for row in found]
    assert names == [VIEW, *LINES]
    assert [row["amount"] for row in found][1:] == [20.0, 5.0]
    assert {row["user_id"] for row in found} == {served.pseudonym("ann")}
    assert len({row["event_id"] for row in found}) == 3
    if traits:
        (person,) = rows.people
        assert person.personal == {"email": "ann@example.com"}
        assert person.declared == {"city": "杭州"}
    return rows


def send(command: list[str | Path], served: Served, **environ: str) -> None:
    subprocess.run(
        [*map(str, command), served.key, served.host],
        check=True,
        capture_output=True,
        timeout=120,
        env=os.environ | environ,
    )


@pytest.mark.parametrize("client", ["segment", "rudder", "posthog", "snowplow", "sensors"])
def test_python_client(served: Served, python_clients: Path, client: str) -> None:
    send([python_clients, HERE / "send.py", client], served)
    check_journey(served, traits=client != "snowplow")  # a tracker says no traits


@pytest.mark.parametrize("client", ["segment", "rudder", "posthog"])
def test_node_client(served: Served, node_clients: Path, client: str) -> None:
    send(["node", node_clients / "send.mjs", client], served)
    check_journey(served)


def test_browser_client_in_chromium(served: Served, node_clients: Path) -> None:
    """analytics-next from its own build: an anonymous visitor looks, says who they are, and buys."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed (scripts/apt-needs.sh installs it)")

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given, directory=str(node_clients))

        def log_message(self, *_: Any) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    Thread(target=site.serve_forever, daemon=True).start()
    switches = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=switches)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{site.server_port}/page.html?key={served.key}&host={served.host}")
        page.wait_for_function("window.sent === true", timeout=30_000)
        browser.close()
    site.shutdown()
    site.server_close()
    end = time.monotonic() + 20
    while len(served.rows()[0].events) < 4 and time.monotonic() < end:
        time.sleep(0.3)
    rows, refused = served.rows()
    assert refused == 0 and not rows.refused
    found = sorted(rows.table().to_pylist(), key=lambda row: (row["ts"], row["event_id"]))
    assert sorted(row["event"] for row in found) == ["purchase", "purchase", "view", "visit"]
    ann = served.pseudonym("ann")
    assert [row["user_id"] for row in found if row["event"] == "visit"] == [None]
    assert {row["user_id"] for row in found if row["event"] == "purchase"} == {ann}
    visitor = {row["anonymous_id"] for row in found}
    assert len(visitor) == 1
    assert {(link.anonymous_id, link.user_id) for link in rows.links} == {(visitor.pop(), ann)}
