"""The live store: what changes by the second, in SQLite (a file of the shop) or PostgreSQL (a setting), by one SQL.

database  Database, Writer: what both can do, and the errors they share
sqlite    Sqlite: one file, WAL, one writer at a time, readers beside it
postgres  Postgres: one connection a thread, made anew when the server was away
migrate   migrate: brings a database to the layout of this version, one numbered step after the other
"""

from huaxiang.store.database import Database, Writer, open_database
from huaxiang.store.migrate import Migration, migrate
from huaxiang.store.sqlite import copy_sqlite, is_sqlite

__all__ = ["Database", "Migration", "Writer", "copy_sqlite", "is_sqlite", "migrate", "open_database"]
