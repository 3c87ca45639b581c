"""The same promises of SQLite and of PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from huaxiang.errors import StoreError
from huaxiang.store import Database, Migration, migrate, open_database
from servers import PostgresServer

STEPS = [Migration(1, ("CREATE TABLE thing (id {serial}, name TEXT NOT NULL, content {blob})",))]


def names(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT name FROM thing ORDER BY id")]


def test_what_one_transaction_writes_is_there_and_what_fails_is_not(database: Database) -> None:
    migrate(database, "test", STEPS)
    with database.transaction() as write:
        first = write.insert("INSERT INTO thing (name, content) VALUES (?, ?)", ("one", b"\0\xff"))
        second = write.insert("INSERT INTO thing (name) VALUES (?)", ("two",))
    with pytest.raises(ZeroDivisionError), database.transaction() as write:
        write.run("INSERT INTO thing (name) VALUES (?)", ("three",))
        raise ZeroDivisionError
    assert second > first
    assert names(database) == ["one", "two"]
    assert [bytes(content) for (content,) in database.rows("SELECT content FROM thing WHERE name = ?", ("one",))] == [b"\0\xff"]  # fmt: skip


def test_rows_changed_are_counted(database: Database) -> None:
    migrate(database, "test", STEPS)
    with database.transaction() as write:
        assert write.run_many("INSERT INTO thing (name) VALUES (?)", [("a",), ("b",), ("c",)]) == 3
        assert write.run("UPDATE thing SET name = name || '!' WHERE name <> ?", ("a",)) == 2
    assert names(database) == ["a", "b!", "c!"]


def test_each_step_is_taken_once_and_a_newer_layout_is_refused(database: Database) -> None:
    assert migrate(database, "test", STEPS) == 1
    more = [*STEPS, Migration(2, ("ALTER TABLE thing ADD COLUMN colour TEXT",))]
    assert migrate(database, "test", more) == 2
    assert migrate(database, "test", more) == 2
    with pytest.raises(StoreError, match="newer huaxiang"):
        migrate(database, "test", STEPS)


def test_a_step_that_fails_leaves_the_layout_as_it_was(database: Database) -> None:
    migrate(database, "test", STEPS)
    broken = [*STEPS, Migration(2, ("ALTER TABLE thing ADD COLUMN colour TEXT", "CREATE NONSENSE"))]
    with pytest.raises(Exception, match=r"(?i)syntax"):
        migrate(database, "test", broken)
    assert migrate(database, "test", STEPS) == 1
    with pytest.raises(Exception, match="colour"):
        database.rows("SELECT colour FROM thing")


def test_threads_write_one_after_the_other_and_nothing_is_lost(database: Database) -> None:
    migrate(database, "test", STEPS)

    def add(label: str) -> None:
        for number in range(20):
            with database.transaction() as write:
                write.run("INSERT INTO thing (name) VALUES (?)", (f"{label}{number}",))

    threads = [threading.Thread(target=add, args=(label,)) for label in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names(database))) == 80


def test_unknown_kind_of_database_is_an_error() -> None:
    with pytest.raises(StoreError, match="mysql://"):
        open_database("mysql://root@localhost/shop")


def test_what_is_no_sqlite_file_is_told_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database at all" * 400)
    with pytest.raises(StoreError, match="damaged"):
        open_database(tmp_path / "store.db")


def test_a_full_disk_is_told_and_the_file_stays_whole(tmp_path: Path) -> None:
    """A file that may hold few pages stands for the full disk: SQLite answers both alike."""
    database = open_database(tmp_path / "store.db")
    migrate(database, "test", STEPS)
    with database.transaction() as write:
        write.run("INSERT INTO thing (name) VALUES (?)", ("kept",))
    database.rows("PRAGMA max_page_count = 8")
    with pytest.raises(StoreError, match="full"), database.transaction() as write:
        write.run("INSERT INTO thing (name, content) VALUES (?, ?)", ("large", b"x" * 1_000_000))
    assert names(database) == ["kept"]
    database.close()
    with sqlite3.connect(tmp_path / "store.db") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_after_a_restart_of_postgresql_the_next_call_connects_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = PostgresServer(tmp_path_factory.mktemp("pgagain"), "again-pass")
    try:
        database = open_database(server.url())
        migrate(database, "test", STEPS)
        server.stop()
        with pytest.raises(StoreError, match="does not answer"):
            database.rows("SELECT 1")
        server.start()
        assert names(database) == []
        database.close()
    finally:
        server.close()
