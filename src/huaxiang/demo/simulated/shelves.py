"""What the shop's export says of items and customers, with the holes and mistakes that such lists have."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from huaxiang.demo.simulated.catalogue import Catalogue, shelf_words, titles
from huaxiang.demo.simulated.people import People
from huaxiang.demo.simulated.world import START, Ints, World, user_ids, utc_us

STAMP = pa.timestamp("us")
TEST_ACCOUNTS = 3


def pick(words: list[str], codes: Ints, *, hole: np.ndarray | None = None) -> pa.Array:
    """The words of the codes, as a dictionary column; null where `hole`.

    A word that stands twice is entered once: of dictionaries with repeated words pyarrow writes other bytes each time.
    """
    if len(set(words)) < len(words):
        once = {word: place for place, word in enumerate(dict.fromkeys(words))}
        codes, words = np.array([once[word] for word in words])[codes], list(once)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=hole), pa.array(words, pa.string()))


def item_ids(catalogue: Catalogue) -> list[str]:
    return [f"P{number + 10_000}" for number in range(len(catalogue.leaf))]


def category_paths(row: int) -> list[str]:
    """The path of every leaf, in Chinese (row 0) or English (1)."""
    return [f"{one['top'][row]} > {one['leaf'][row]}" for one in shelf_words()["leaves"]]


def items_table(world: World, catalogue: Catalogue) -> pa.Table:
    chance, words = world.chance("items dirt"), shelf_words()
    chinese, english = titles(catalogue)
    n = len(chinese)
    brand_names = [f"{zh} {en}" if zh != en else en for zh, en in words["brands"]]
    return pa.table(
        {
            "sku": item_ids(catalogue),
            "title_zh": chinese,
            "title_en": english,
            "category_zh": pick(category_paths(0), catalogue.leaf),
            "category_en": pick(category_paths(1), catalogue.leaf),
            "brand": pick(brand_names, catalogue.brand, hole=chance.random(n) < 0.02),
            "list_price": pa.array(catalogue.price, mask=chance.random(n) < 0.01),
        }
    )


def users_table(world: World, people: People, piece: int) -> pa.Table:
    """The registrations of one piece: sexes spelled in several ways, unknown or impossible birth years, a few refusals."""
    chance, words, n = world.chance("users dirt", piece), shelf_words(), len(people)
    family, given = chance.integers(0, len(words["family_names"]), n), chance.integers(0, len(words["given_names"]), n)
    city = chance.integers(0, len(words["cities"]), n)
    odd = chance.random(n)
    year = np.where(odd < 0.01, 1900, people.birth_year)
    spelling = np.where(people.female, 0, 3) + chance.integers(0, 3, n)
    numbers = user_ids(people.number)
    holes = chance.random(n) < 0.1
    places = {
        f"{name}_{lang}": pick([one[lang][level] for one in words["cities"]], city, hole=holes)
        for lang in ("zh", "en")
        for level, name in enumerate(("city", "province"))
    }
    return pa.table(
        {
            "uid": pa.array(numbers).cast(pa.string()),
            "registered": pa.array(utc_us(people.arrival), STAMP),
            "sex": pick(["F", "女", "female", "M", "男", "male", "未知"], np.where(chance.random(n) < 0.2, 6, spelling)),
            "birth_year": pa.array(year, mask=chance.random(n) < 0.3),
            **places,
            "level": pick(["普通", "银卡", "金卡"], people.level),
            "from_channel": pick(["search", "ad", "friend", "app_store"], chance.integers(0, 4, n)),
            "agreed": pick(["profiling,marketing", "profiling", "orders_only"], np.searchsorted([0.8, 0.985], chance.random(n))),
            "name": [words["family_names"][a] + words["given_names"][b] for a, b in zip(family.tolist(), given.tolist(), strict=True)],
            "mobile": phones(people.phone),
            "mail": mails(numbers),
            "address": [f"{words['cities'][c]['zh'][0]}市{a % 300 + 1}号{a % 27 + 1}室" for c, a in zip(city.tolist(), people.address.tolist(), strict=True)],
        }
    )  # fmt: skip


def phones(numbers: Ints) -> pa.Array:
    """Eleven digits each, different for different numbers."""
    return pa.array(13_000_000_000 + numbers * 7_919_327 % 1_000_000_000).cast(pa.string())


def mails(ids: Ints) -> list[str]:
    return [f"c{number}@example.com" for number in ids.tolist()]


def test_accounts(schema: pa.Schema) -> pa.Table:
    """Accounts of the shop's own testers, as they stand among the customers of every shop."""
    rows = [
        dict.fromkeys(schema.names)
        | {"uid": f"test_{number}", "registered": START, "name": "测试账号", "level": "金卡", "agreed": "profiling"}
        for number in range(TEST_ACCOUNTS)
    ]
    plain = pa.schema(
        [(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type) for field in schema]
    )
    return pa.Table.from_pylist(rows, schema=plain).cast(schema)
