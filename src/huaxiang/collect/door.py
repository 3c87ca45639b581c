"""What is decided before anything is stored: who agreed, who is a test account, and under which pseudonym.

Ids meet their pseudonyms in a table joined to the rows (`id`, `pseudonym`, `is_test`, `refused`, `agreed`); each distinct
id is hashed once, in Python, because DuckDB has no HMAC of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from huaxiang.engine import Engine, Step
from huaxiang.engine.duck import quote
from huaxiang.settings import DoorSettings
from huaxiang.trust import Pseudonyms, Vault

REFUSED = "raw.refused"
REFUSED_SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("file", pa.string()),
        pa.field("at", pa.timestamp("us")),
    ]
)
BATCH = 200_000
_NOBODY = "SELECT NULL::VARCHAR AS user_id WHERE false"
_USER_COLUMNS = {
    "users": ("user_id",),
    "events": ("user_id",),
    "relations": ("user_id", "other_id"),
    "identifiers": ("user_id",),
}


class Door:
    """The ids seen in this run, and what was decided on each. Call `open` once the refusals are known."""

    def __init__(self, engine: Engine, pseudonyms: Pseudonyms, vault: Vault, settings: DoorSettings) -> None:
        self.engine = engine
        self.pseudonyms = pseudonyms
        self.vault = vault
        self.settings = settings
        self.ids = "door_ids"
        engine.run("CREATE OR REPLACE TABLE door_agreed_now (user_id VARCHAR)")

    def open(self, step: Step) -> None:
        """Start with nobody known, and the refusals and consents that this step has stored."""
        run = self.engine.run
        run(
            f"CREATE OR REPLACE TABLE {self.ids} (id VARCHAR, pseudonym VARCHAR, is_test BOOLEAN, refused BOOLEAN, agreed BOOLEAN)"
        )
        refused = self.engine.sql(step.table(REFUSED)) if step.has(REFUSED) else _NOBODY
        run(f"CREATE OR REPLACE TABLE door_refused AS SELECT DISTINCT user_id FROM ({refused})")
        agreed = _NOBODY
        if step.has("raw.users"):
            users = self.engine.sql(step.table("raw.users"))
            agreed = (
                f"SELECT user_id FROM ({users}) WHERE list_contains(consent, {quote(self.settings.purpose.lower())})"
            )
        run(
            f"CREATE OR REPLACE TABLE door_agreed AS SELECT DISTINCT user_id FROM ({agreed} UNION ALL FROM door_agreed_now)"
        )

    def close(self) -> None:
        for name in (self.ids, "door_refused", "door_agreed", "door_agreed_now"):
            self.engine.run(f"DROP TABLE IF EXISTS {name}")

    def learn(self, ids: str, *, shop_ids: bool) -> None:
        """Know each id of the query `ids` (one column, `id`). shop_ids: keep it in the vault beside its pseudonym."""
        new = self.engine.keep(
            f"SELECT DISTINCT id FROM ({ids}) new WHERE id IS NOT NULL AND NOT EXISTS (FROM {self.ids} known WHERE known.id = new.id)"
        )
        for batch in self.engine.batches(self.engine.sql(new), BATCH):
            hashed = pa.table({"id": batch.column(0), "pseudonym": self.pseudonyms.of_array(batch.column(0))})
            loaded = self.engine.load(hashed)
            self.engine.run(
                f"INSERT INTO {self.ids} SELECT id, pseudonym, {self.test_sql('id')}, "
                f"pseudonym IN (FROM door_refused), pseudonym IN (FROM door_agreed) FROM {loaded.get_name()}"
            )
            if shop_ids:
                kept = self.engine.arrow(
                    f"SELECT pseudonym, id FROM {loaded.get_name()} WHERE pseudonym NOT IN (FROM door_refused)"
                )
                self.vault.put_many(kept.column(0).to_pylist(), "shop_id", kept.column(1).to_pylist(), replace=False)
            self.engine.drop(loaded)
        self.engine.drop(new)

    def test_sql(self, sql: str) -> str:
        """Whether a text marks a test account."""
        globs = " OR ".join(f"lower({sql}) GLOB {quote(glob.lower())}" for glob in self.settings.test_users)
        return f"coalesce({globs}, false)" if globs else "false"

    def keep_personal(self, rows: str, fields: Sequence[str]) -> None:
        """Put the personal columns `fields` of `rows` (with `user_id`, a pseudonym) into the vault."""
        for batch in self.engine.batches(rows, BATCH):
            users = batch.column("user_id").to_pylist()
            for field in fields:
                self.vault.put_many(users, field, batch.column(field).to_pylist())

    def note_consent(self, users: str, source: str, file: str, at: datetime) -> pa.Table:
        """The refusals in `users` (user_id as the shop writes it, consent as purposes): any one refusal counts."""
        purpose = quote(self.settings.purpose.lower())
        asked = self.engine.arrow(
            f"SELECT user_id, bool_and(list_contains(consent, {purpose})) AS agreed FROM ({users}) WHERE user_id IS NOT NULL GROUP BY 1"
        )
        loaded = self.engine.load(
            pa.table({"user_id": self.pseudonyms.of_array(asked.column(0)), "agreed": asked.column(1)})
        )
        self.engine.run(f"INSERT INTO door_agreed_now SELECT user_id FROM {loaded.get_name()} WHERE agreed")
        refused = self.engine.arrow(
            f"SELECT user_id, {quote(source)} AS source, {quote(file)} AS file, TIMESTAMP '{at.isoformat(sep=' ')}' AS at "
            f"FROM {loaded.get_name()} WHERE NOT agreed"
        )
        self.engine.drop(loaded)
        return refused.cast(REFUSED_SCHEMA)


def replace_refusals(step: Step, fresh: pa.Table, files: Sequence[tuple[str, str]]) -> set[str]:
    """Replace the refusals of the (source, file) pairs read anew; gives the users who refused before and no longer do."""
    engine, read = step.lake.engine, set(files)
    before = (
        engine.arrow(step.table(REFUSED)).cast(REFUSED_SCHEMA) if step.has(REFUSED) else REFUSED_SCHEMA.empty_table()
    )
    pairs = zip(before["source"].to_pylist(), before["file"].to_pylist(), strict=True)
    after = pa.concat_tables([before.filter(pa.array([pair not in read for pair in pairs], pa.bool_())), fresh])
    if before.num_rows or after.num_rows:
        step.replace(REFUSED, after)
    return set(before["user_id"].to_pylist()) - set(after["user_id"].to_pylist())


def withdraw(step: Step, vault: Vault) -> int:
    """Take out of the raw tables, and of the vault, what is kept of users who refuse; gives the rows taken out."""
    if not step.has(REFUSED):
        return 0
    taken, engine = 0, step.lake.engine
    refused = engine.keep(f"SELECT DISTINCT user_id FROM ({engine.sql(step.table(REFUSED))})")
    for table, columns in _USER_COLUMNS.items():
        if not step.has(f"raw.{table}"):
            continue
        theirs = " OR ".join(f"coalesce({column} IN (FROM {refused.get_name()}), false)" for column in columns)
        rows = engine.sql(step.table(f"raw.{table}"))
        found = int(engine.value(f"SELECT count(*) FROM ({rows}) WHERE {theirs}"))
        if found:
            step.replace(f"raw.{table}", f"SELECT * FROM ({rows}) WHERE NOT ({theirs})")
            taken += found
    vault.erase_many(engine.arrow(refused).column(0).to_pylist())
    engine.drop(refused)
    return taken
