"""One user id per customer: anonymous visits joined to the user who logged in, as facts that can be taken back.

    links.py      link_users: the ledger `identity.links`, recomputed from the clean tables on every build
    canonical.py  canonical_events: the events under one id, and when that became known

The simplest rules for now: declared ids, and logins. A wrong link is undone by cleaning away the fact it rests on.
"""

from huaxiang.identity.canonical import canonical_events
from huaxiang.identity.links import IdentityReport, link_users

__all__ = ["IdentityReport", "canonical_events", "link_users"]
