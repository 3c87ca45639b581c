"""Real servers for tests, started in a temporary folder as a user who is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def as_user(user: str, *command: str | Path) -> list[str]:
    """The command, run as `user` where we are root."""
    words = [str(word) for word in command]
    return ["runuser", "-u", user, "--", *words] if os.geteuid() == 0 else words


def run(command: list[str], **how: Any) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120, **how)


def open_folder(base: Path, user: str) -> Path:
    """A folder outside pytest's own (which only its owner may enter), belonging to `user`."""
    folder = Path("/tmp") / f"hx-{base.name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, user)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_ready(check: Callable[[], bool], server: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert server.poll() is None and time.monotonic() < end, "the server did not start"
        time.sleep(0.2)


def has_user(name: str) -> bool:
    return os.geteuid() != 0 or name in {entry.pw_name for entry in pwd.getpwall()}


class PostgresServer:
    """A PostgreSQL of its own, with one user and one database; skips the test where none is installed."""

    USER = "reader"

    def __init__(self, base: Path, password: str) -> None:
        tools = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not tools or not has_user("postgres"):
            pytest.skip("PostgreSQL is not installed (scripts/apt-needs.sh installs it)")
        self.tool, self.password = tools[-1].parent, password
        self.folder, self.port = open_folder(base, "postgres"), free_port()
        (secret := self.folder / "pw").write_text(password)
        secret.chmod(0o644)
        words = ["-D", self.folder / "data", "-U", self.USER, "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8"]
        run(as_user("postgres", self.tool / "initdb", *words, "--no-sync"))
        self.start()

    def start(self) -> None:
        """Runs it, and comes back when it answers."""
        words = ["-D", self.folder / "data", "-p", str(self.port), "-k", self.folder, "-h", "127.0.0.1", "-F"]
        command = as_user("postgres", self.tool / "postgres", *words)
        self.server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_ready(lambda: self.ask("SELECT 1", check=False).returncode == 0, self.server)

    def stop(self) -> None:
        """Breaks every connection, as a restart of the server does."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGINT)
        self.server.wait(30)

    def ask(self, sql: str, *, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Runs SQL by psql."""
        client = [
            str(self.tool / "psql"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            self.USER,
            "-d",
            "postgres",
            "-q",
        ]
        environ = os.environ | {"PGPASSWORD": self.password}
        return subprocess.run([*client, "-c", sql], env=environ, capture_output=True, timeout=120, check=check)

    def url(self, database: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{self.USER}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        if self.server.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
