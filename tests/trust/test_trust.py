"""Pseudonyms, the vault and the masks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huaxiang.engine import Engine
from huaxiang.errors import TrustError
from huaxiang.trust import Pseudonyms, Vault, canonical_id, load_key, mask_sql, mask_text, trimmed
from huaxiang.trust.pseudonyms import canonical_text
from huaxiang.trust.scrub import mask_value, mask_value_sql

KEY = b"k" * 32


def test_pseudonym_is_the_stated_hash() -> None:
    digest = base64.b64encode(hmac.new(KEY, b"17850", hashlib.sha256).digest())[:12].decode()
    assert Pseudonyms(KEY).of("17850") == digest.replace("+", "A").replace("/", "B")
    assert Pseudonyms(b"x" * 32).of("17850") != digest


def test_id_written_as_a_float_is_the_same_id() -> None:
    p = Pseudonyms(KEY)
    assert p.of("17850.0") == p.of(" 17850 ") == p.of("17850")
    assert p.of("17850.5") != p.of("17850")


def test_array_of_pseudonyms_keeps_order_and_nulls() -> None:
    p = Pseudonyms(KEY)
    found = p.of_array(pa.chunked_array([["b", None], ["a", "b"]]))
    assert found.to_pylist() == [p.of("b"), None, p.of("a"), p.of("b")]


def test_key_is_made_owner_only_and_an_open_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "pseudonym.key"
    with pytest.raises(TrustError, match="missing"):
        load_key(path)
    key = load_key(path, create=True)
    assert len(key) == 32 and load_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(TrustError, match="chmod 600"):
        load_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(TrustError, match="damaged"):
        load_key(path)


def test_vault_gives_back_what_was_put_and_erases(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.db", KEY)
    assert vault.put_many(["u1", "u2", "u3"], "name", ["张三", "Bob", None]) == 2
    vault.put_many(["u1"], "shop_id", ["17850"])
    vault.put_many(["u1"], "shop_id", ["other"], replace=False)
    assert vault.get("u1") == {"name": "张三", "shop_id": "17850"}
    assert vault.erase("u1") == 2 and vault.get("u1") == {}
    assert vault.get("u2") == {"name": "Bob"}
    assert (tmp_path / "vault.db").stat().st_mode & 0o777 == 0o600


def test_values_in_the_vault_are_not_in_clear_and_cannot_be_swapped(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.db", KEY)
    vault.put_many(["u1", "u2"], "email", ["planted@example.com", "other@example.com"])
    assert b"planted" not in (tmp_path / "vault.db").read_bytes()
    with sqlite3.connect(tmp_path / "vault.db") as raw:
        nonce, value = raw.execute("SELECT nonce, value FROM value WHERE pseudonym = 'u1'").fetchone()
        raw.execute("UPDATE value SET nonce = ?, value = ? WHERE pseudonym = 'u2'", (nonce, value))
    raw.close()
    with pytest.raises(TrustError, match="does not open"):
        vault.get("u2")
    with pytest.raises(TrustError, match="does not open"):
        Vault(tmp_path / "vault.db", b"z" * 32).get("u1")


def test_text_kept_twice_has_one_reference(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault.db", KEY)
    ref = vault.keep_text("reject", "a,b")
    assert vault.keep_text("reject", "a,b") == ref and vault.text(ref) == "a,b" and vault.text("none") is None


def test_file_that_is_no_vault_is_named(tmp_path: Path) -> None:
    (tmp_path / "vault.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(TrustError, match=r"vault\.db"):
        Vault(tmp_path / "vault.db", KEY).get("u1")


MASKED = [
    ("call 138-1234-5678 or +86 138 1234 5678, 8613812345678", "call [phone] or [phone], [phone]"),
    ("我的电话13812345678谢谢", "我的电话[phone]谢谢"),
    ("a.b@c.com.cn 010-62345678", "[email] [phone]"),
    ("身份证110101199003074513。", "身份证[id]。"),
    ("(415) 555-2671 or +44 20 7946 0958", "[phone] or [phone]"),
    (
        "order 20240101123456 costs 19.99 on 2024-01-02 03:04:05",
        "order 20240101123456 costs 19.99 on 2024-01-02 03:04:05",
    ),
    ("SKU 85123A, ean 4006381333931, 100 pieces", "SKU 85123A, ean 4006381333931, 100 pieces"),
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_free_text_is_masked_alike_in_python_and_sql(text: str, masked: str) -> None:
    assert mask_text(text) == masked
    with Engine() as engine:
        assert engine.value(f"SELECT {mask_sql('x')} FROM (SELECT '{text}' AS x)") == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("张三", "xx"),
        ("12 pcs", "12 pcs"),
        ("2024年1月5日", "2024年1月5日"),
        ("12 Elm Street", "12 xxx xxxxxx"),
        ("N/A", "N/A"),
        ("138-1234-5678", "[phone]"),
    ],
)
def test_misfit_value_shows_no_name_or_address(text: str, masked: str) -> None:
    assert mask_value(text) == masked
    with Engine() as engine:
        assert engine.value(f"SELECT {mask_value_sql('x')} FROM (SELECT '{text}' AS x)") == masked


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00'"), max_size=12), max_size=5).map(
        lambda found: [*found, " 12.0 ", "\u300017850\u00a0", "x.0"]
    )
)
def test_canonical_id_is_the_same_in_python_and_sql(texts: list[str]) -> None:
    with Engine() as engine:
        rows = engine.load(pa.table({"n": range(len(texts)), "x": pa.array(texts, pa.string())})).get_name()
        found = engine.arrow(
            f"SELECT {canonical_id('y')} AS id FROM (SELECT n, {trimmed('x')} AS y FROM {rows}) ORDER BY n"
        )
    assert [value or "" for value in found.column(0).to_pylist()] == [canonical_text(text) for text in texts]
