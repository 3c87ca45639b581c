"""Files that arrive in a folder: each row once, whatever the file is like and whenever the process ends."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from huaxiang.errors import SettingsError, ShopError, StoreError
from huaxiang.serve.pull.folder import Folder
from huaxiang.serve.pull.run import Pull
from huaxiang.serve.pull.shape import Shape, UnfitError
from huaxiang.settings import check_settings
from pulls import Place, properties

SETTINGS = {"till": {"kind": "folder", "path": "in", "fields": {"user_id": "member"}, "zone": "Asia/Shanghai"}}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "in").mkdir()
    made = Place(tmp_path, SETTINGS)
    yield made
    made.close()


@pytest.fixture
def pull(place: Place) -> Iterator[Pull]:
    made = place.pull("till")
    yield made
    made.close()


def look(pull: Pull) -> None:
    """Two looks: the first sees a file, the second takes it if it has stayed as it was."""
    pull.step()
    pull.step()


def write(place: Place, name: str, content: str | bytes) -> Path:
    path = place.folder / "in" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_rows_of_each_kind_of_file_become_messages(place: Place, pull: Pull) -> None:
    write(place, "a.csv", "member,event,ts,sku\n007,Order Completed,2026-05-01 08:00:00,x\n8,Product Viewed,,y\n")
    write(place, "b.jsonl", '{"member": 9, "event": "Product Viewed", "ts": 1777593600, "n": {"a": [1]}}\n\n')
    write(place, "c.json.gz", gzip.compress(json.dumps([{"member": "10", "event": "Search"}]).encode()))
    rows = {
        "member": ["11"],
        "event": ["Search"],
        "ts": [datetime(2026, 5, 1, tzinfo=UTC)],
        "paid": [Decimal("1.50")],
        "raw": [b"\x00"],
    }
    pq.write_table(pa.table(rows), place.folder / "in" / "d.parquet")
    look(pull)
    found = place.messages()
    assert [one.userId for one in found] == ["007", "8", 9, "10", "11"]
    assert [one.timestamp for one in found] == ["2026-05-01T00:00:00+00:00", None, "2026-05-01T00:00:00+00:00", None, "2026-05-01T00:00:00+00:00"]  # fmt: skip
    assert [properties(one) for one in found] == [{"sku": "x"}, {"sku": "y"}, {"n": {"a": [1]}}, {}, {"paid": 1.5}]
    assert len({one.messageId for one in found}) == 5
    look(pull)
    assert len(place.messages()) == 5
    assert {entry.source for entry in place.log.read(0)} == {"till"}


def test_messages_as_sdks_send_them_go_through_as_they_are(place: Place, pull: Pull) -> None:
    segment = {"type": "track", "userId": "a", "event": "Search", "messageId": "s1", "properties": {"query": "tea"}}
    posthog = {"event": "$identify", "distinct_id": "b", "uuid": "p1", "properties": {"$set": {"city": "Lyon"}}}
    sensors = {"type": "track", "distinct_id": "c", "time": 1777593600000, "event": "Search", "properties": {}}
    batch = {"batch": [segment | {"messageId": "s2"}, {"type": "page", "anonymousId": "v"}], "sentAt": "2026-05-01T00:00:00Z"}  # fmt: skip
    write(place, "a.jsonl", "\n".join(json.dumps(one) for one in (segment, posthog, sensors, batch)))
    look(pull)
    found = place.messages()
    assert [(one.type, one.userId) for one in found] == [("track", "a"), ("identify", "b"), ("track", "c"), ("track", "a"), ("page", None)]  # fmt: skip
    assert [one.messageId for one in found[:2]] == ["s1", "p1"]
    assert found[4].sentAt == "2026-05-01T00:00:00Z"
    assert place.reasons() == {}


def test_rows_that_are_no_good_go_to_the_quarantine_and_the_rest_counts(place: Place, pull: Pull) -> None:
    good = '{"member": 1, "event": "x"}'
    bad = ["{", "[1]", '{"event": "x"}', '{"member": 1}', '{"member": 1, "event": "x", "ts": "soon"}', '{"member": 1, "event": "\\ud802"}']  # fmt: skip
    write(place, "a.jsonl", "\n".join([good, *bad, good]))
    write(place, "b.csv", b"member,event\n1,x\n2\n3,x,y\n4,\xff\xfe\n5,x\n")
    look(pull)
    assert [one.userId for one in place.messages()] == [1, 1, "1", "5"]
    assert place.reasons() == {"bad_json": 3, "no_user": 1, "no_event": 1, "time": 1, "columns": 2, "encoding": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.parquet", b"PAR1nothing", "no_parquet"),
        ("a.csv", b"\n\n", "no_header"),
        ("a.csv", b"a,a\n1,2\n", "odd_header"),
        ("a.json", b"[1, 2", "bad_json"),
        ("a.jsonl.gz", gzip.compress(b'{"member": 1, "event": "x"}\n' * 5_000)[:-20], "bad_gzip"),
        ("a.csv.gz", b"member,event\n", "bad_gzip"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_entry_until_it_changes(
    place: Place, pull: Pull, name: str, content: bytes, reason: str
) -> None:
    write(place, name, content)
    look(pull)
    look(pull)
    assert place.log.refusals() == {("till", "file", reason): 1}
    write(place, "other.csv", "member,event\n1,x\n")
    look(pull)
    assert place.messages()[-1].userId == "1"
    whole = gzip.compress(b"member,event\n2,x\n", mtime=0) if name.endswith("csv.gz") else b"member,event\n2,x\n"
    if "csv" in name:
        write(place, name, whole)
        look(pull)
        assert place.messages()[-1].userId == "2"


def test_a_parquet_file_damaged_within_holds_up_no_other(place: Place, pull: Pull) -> None:
    rows = pa.table({"member": [str(n) for n in range(40_000)], "event": ["x"] * 40_000})
    path = place.folder / "in" / "a.parquet"
    pq.write_table(rows, path, row_group_size=10_000, compression="zstd", use_dictionary=False)
    at = pq.read_metadata(path).row_group(3).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[at : at + 5_000] = b"\xff" * 5_000
    path.write_bytes(content)
    write(place, "b.csv", "member,event\nlast,x\n")
    look(pull)
    found = [one.userId for one in place.messages()]
    assert found[-1] == "last"
    assert found[:-1] == [str(n) for n in range(len(found) - 1)]  # what was read before the damage, if anything
    assert place.log.refusals() == {("till", "file", "no_parquet"): 1}


def test_a_file_that_is_still_written_is_not_taken(place: Place, pull: Pull) -> None:
    for size in range(1, 4):
        write(place, "a.csv", "member,event\n" + "1,x\n" * size)
        pull.step()
        assert place.messages() == []
    for name in ("b.csv.tmp", "c.csv.part", ".d.csv", "e.txt"):
        write(place, name, "member,event\n1,x\n")
    pull.step()
    pull.step()
    assert len(place.messages()) == 3


def test_what_was_added_to_a_file_is_read_alone_and_a_copy_not_at_all(place: Place, pull: Pull) -> None:
    path = write(place, "a.csv", "member,event\n1,x\n2,x\n")
    look(pull)
    with path.open("a") as more:
        more.write("3,x\n")
    look(pull)
    write(place, "copy.csv", path.read_bytes())
    os.utime(path, (1, 1))  # touched, not changed
    look(pull)
    assert [one.userId for one in place.messages()] == ["1", "2", "3"]
    write(place, "a.csv", "member,event\n4,x\n")  # another file in its place
    look(pull)
    assert [one.userId for one in place.messages()] == ["1", "2", "3", "4"]


def test_a_process_that_ends_within_a_file_goes_on_behind_the_last_row_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ids are forgotten in between, so that only the position can tell."""
    monkeypatch.setattr("huaxiang.serve.pull.folder.ROWS", 100)
    (tmp_path / "in").mkdir()
    first = Place(tmp_path, SETTINGS)
    rows = pa.table({"member": [str(n) for n in range(1_050)], "event": ["x"] * 1_050})
    pq.write_table(rows, tmp_path / "in" / "a.parquet", row_group_size=64)
    write(first, "b.csv", "member,event\n" + "".join(f"{n},x\n" for n in range(2_000, 2_350)))
    pull, put, sent = first.pull("till"), first.committer.put, []

    def fail_at_the_fifth(request: object) -> int:
        if len(sent) == 4:
            raise StoreError("store.away", kind="test")
        sent.append(request)
        return put(request)  # type: ignore[arg-type]

    monkeypatch.setattr(first.committer, "put", fail_at_the_fifth)
    with pytest.raises(StoreError):
        look(pull)
    pull.close()
    first.close()
    for path in (tmp_path / "live" / "ids").iterdir():
        path.unlink()
    second = Place(tmp_path, SETTINGS)
    with second.database.transaction() as change:
        change.run("UPDATE request SET received_at = 0, ids = x''")
    pull = second.pull("till")
    look(pull)
    pull.close()
    assert [one.userId for one in second.messages()] == [str(n) for n in (*range(1_050), *range(2_000, 2_350))]
    second.close()


def test_a_missing_folder_is_said_and_tried_again_until_it_is_there(tmp_path: Path) -> None:
    place = Place(tmp_path, SETTINGS | {"other": {"kind": "folder", "path": "there", "every_s": 0.05}})
    pull = place.pull("till")
    with pytest.raises(ShopError, match="no folder"):
        pull.step()
    pull.close()
    (tmp_path / "there").mkdir()
    write_to = tmp_path / "there" / "a.csv"
    place.pullers.start()
    write_to.write_text("user_id,event\n1,x\n")
    end = time.monotonic() + 20
    while not (place.messages() and place.pullers.all[1].error) and time.monotonic() < end:
        time.sleep(0.02)
    other, till = place.pullers.all
    assert (other.error, other.counts.rows, other.counts.messages) == ("", 1, 1)
    assert "pull_no_folder" in till.error and till.counts.errors >= 1
    assert any(name == "pull_errors_total" for name, *_ in place.pullers.metrics())
    told = dict(place.database.rows("SELECT pull, error FROM pull_state"))
    assert "pull_no_folder" in told["till"]
    place.pullers.close()
    place.close()


def test_a_file_that_may_not_be_read_is_named_once_and_taken_when_it_may(
    place: Place, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, "a.csv", "member,event\n1,x\n")
    write(place, "b.csv", "member,event\n2,x\n")
    with monkeypatch.context() as patched:  # root may read everything
        patched.setattr(os, "access", lambda path, _: Path(path).name != "a.csv")
        look(pull)
        look(pull)
        assert [one.userId for one in place.messages()] == ["2"]
        assert place.log.refusals() == {("till", "file", "denied"): 1}
    look(pull)
    assert [one.userId for one in place.messages()] == ["2", "1"]


def test_positions_are_sealed(place: Place, pull: Pull) -> None:
    write(place, "a.csv", "member,event\n1,x\n")
    look(pull)
    assert isinstance(pull, Folder)
    (content,) = place.database.rows("SELECT content FROM pull_position")[0]
    assert b"state" not in bytes(content)
    assert place.positions.of("till")["a.csv"]["state"] == "done"


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ("2026/05/01 08:00", "2026-05-01T00:00:00+00:00"),
        ("20260501", "2026-04-30T16:00:00+00:00"),
        ("1777593600.5", "2026-05-01T00:00:00.500000+00:00"),
        (1777593600123, "2026-05-01T00:00:00.123000+00:00"),
        ("2026-05-01T08:00:00Z", "2026-05-01T08:00:00+00:00"),
        ("soon", None),
        (True, None),
        (10**300, None),
    ],
)
def test_times_are_read_as_shops_write_them(given: object, time: str | None) -> None:
    shape = Shape({}, event="x", zone="Asia/Shanghai")
    if time is None:
        with pytest.raises(UnfitError, match="time"):
            shape.messages({"user_id": 1, "ts": given}, "m")
    else:
        assert shape.messages({"user_id": 1, "ts": given}, "m")[0]["timestamp"] == time


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ({"kind": "folder"}, "path"),
        ({"kind": "postgresql", "url": "x", "cursor": "id"}, "table or query"),
        ({"kind": "kafka", "brokers": "b"}, "topics"),
        ({"kind": "folder", "path": "in", "zone": "Mars"}, "time zone"),
        ({"kind": "folder", "path": "in", "fields": {"sku": "x"}}, "sku"),
        ({"kind": "folder", "path": "in", "encoding": "klingon"}, "encoding"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, said: dict[str, object], part: str) -> None:
    with pytest.raises(SettingsError, match=part):
        check_settings({"live": {"pull": {"till": said}}}, tmp_path)
    with pytest.raises(SettingsError, match="did you mean"):
        check_settings({"live": {"pull": {"till": {"kind": "folder", "paht": "in"}}}}, tmp_path)
