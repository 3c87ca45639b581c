"""The log: every message on disk, sealed, before it is acknowledged; each message id once.

layout     the tables, as migrations
ids        the index of message ids: a set, and sorted runs on disk
met        who remembers the ids: that index, or a table of the PostgreSQL that several collectors share
squeeze    bodies made small before that
seal       bodies encrypted under the vault's key: personal values are never in clear on disk
upkeep     old ids and old requests let go of
request    a batch → a request, with what of it is no good marked
log        Log: append many requests in one transaction, read on from an offset, quarantine, purge
commit     Committer: gathers the requests of a moment into one transaction (group commit), with back-pressure
"""

from huaxiang.serve.log.commit import Committer, OverloadedError
from huaxiang.serve.log.log import Entry, Log, Request
from huaxiang.serve.log.request import make_request
from huaxiang.serve.log.seal import Seal
from huaxiang.serve.log.upkeep import Upkeep

__all__ = ["Committer", "Entry", "Log", "OverloadedError", "Request", "Seal", "Upkeep", "make_request"]
