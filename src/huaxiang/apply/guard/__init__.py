"""Named risks of orders and customers, with evidence, rules and a review queue.

guard.py       the facade: score, queue, verdict, try_rule                       (Shop.guard)
window.py      orders and lines of the window, as they were known at a moment    signals.py  one row a customer
owner.py       how an order is unlike the account's owner
ties.py        who shares what with whom      rings.py       dense groups among them
together.py    what groups do together, beyond chance
neighbours.py  what one's neighbours look like anomaly.py     how unlike the others, without labels
risks.py       four named risks from signals, each with reason codes; fake orders
rules.py       the shop's own rules: allow, review, block                        queue.py    cases, verdicts, labels
learn.py       gradient boosting over verdicts, used where it beats the score    baskets.py  the lines of baskets, for a labelled set
"""
