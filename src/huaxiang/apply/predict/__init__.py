"""Customer lifetime value, purchase intent of a running session, the next purchase, what if.

buys.py      every customer's buys, and their summary      bgnbd.py, spend.py   the two models of buys and of money a buy
heads.py     what learns beside them, by a rehearsal       forecast.py          what is chosen, the intervals, the hold-out report
next_buy.py  when the next purchase comes                  value.py             all of it for a shop: table `clv`
session.py   a session as it runs, folded event by event   intent.py            the chance that it ends in a purchase
what_if.py   a feature changed, a prediction moved         open.py              `Shop.predict`, the way in
show.py      how the answers look on a terminal
"""
