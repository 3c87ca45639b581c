"""Who enters and leaves an audience while the shop lives, told to addresses that the shop names.

follow      Follower: called by the worker with the profiles it made
membership  Members: who belongs to each audience that is followed live, and what changed
outbox      Outbox: what is to be told, written in the worker's own transaction, until it was told or given up
declared    Hook: an address of huaxiang.toml with its secret
deliver     Deliverer: posts what waits, in order, again and again; at least once
layout      the tables, as migrations
"""

from huaxiang.serve.hooks.declared import Hook, open_hooks
from huaxiang.serve.hooks.deliver import Deliverer
from huaxiang.serve.hooks.follow import Follower
from huaxiang.serve.hooks.membership import Members
from huaxiang.serve.hooks.outbox import Change, Outbox

__all__ = ["Change", "Deliverer", "Follower", "Hook", "Members", "Outbox", "open_hooks"]
