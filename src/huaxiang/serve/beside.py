"""What is done with a shop's live side beside its server, or without one: the log brought into the lake, states compared with the build."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from huaxiang.errors import ShopError
from huaxiang.features.live.open import SOURCE, open_live
from huaxiang.serve.live.check import SAMPLE, check_live
from huaxiang.serve.live.past import LakePast
from huaxiang.serve.live.to_lake import STEP, put_erased, write_some, written_upto
from huaxiang.serve.log import Log, Seal
from huaxiang.serve.map import Mapper
from huaxiang.serve.open import alone, open_states, open_store, vault_key
from huaxiang.shop import Shop


def bring_in(shop: Shop) -> int:
    """All of the log into the lake, beside a server or without one; gives the requests (0 where nothing was ever collected).

    raises: ShopError("lake.busy") while another step runs
    """
    where = shop.settings.live.store
    if "://" not in where and not (shop.folder / where).exists():
        return 0
    with ExitStack() as closing:
        store = open_store(shop)
        closing.callback(store.close)
        states = open_states(shop, store)
        closing.callback(states.close)
        to = Log(store, Seal(vault_key(shop)), None)
        mapper = Mapper(shop.pseudonyms(create=True), shop.settings.live)
        erased = dict[str, int](states.rows("SELECT user_id, upto FROM erased"))
        total, last = 0, to.last()
        if erased:
            with shop.lake.step(STEP) as step:
                step.note |= {key: value for key, value in shop.lake.note(STEP).items() if key in ("offset", "events")}
                put_erased(step, erased)
        while written_upto(shop) < last and (done := write_some(shop, to, mapper, upto=last, erased=erased)):
            total += done
    return total


def check_now(shop: Shop, *, sample: int = SAMPLE) -> dict[str, Any] | None:
    """What a check finds now; None while a server runs, which has the states, and where there are none yet."""
    where = shop.live_states()
    if isinstance(where, Path) and not where.exists():
        return None
    try:
        with alone(shop), open_live(shop.lake, shop.settings, where, past=LakePast(shop.lake)) as live:
            if live.applied(SOURCE) < 0:
                return None
            as_of = datetime.now(ZoneInfo(shop.settings.shop.timezone)).date() + timedelta(days=1)
            return check_live(shop, live, as_of=as_of, sample=sample, seed=as_of.toordinal()).to_dict()
    except ShopError as error:
        if error.key != "serve.running":
            raise
        return None
