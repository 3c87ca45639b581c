"""What to show this customer, here: candidates → one ranker → rules, with reasons that are true.

recommend.py   the facade: train, show, exam                                     (Shop.recommend)
past.py        what customers did with items      reader.py    one customer's, kept at hand
known.py       the profile's features at a day    versions.py  items as they were known at a day
sources.py     candidates by what they took, when they did                       again.py   when it is due
peers.py       popular among those who declared the same
table.py       candidates as the ranker reads them learn.py    three looks back, the ranker                  rules.py   what may be shown
desk.py        what was learned, ready to list    store.py     it on disk
reasons.py     what truly speaks for it
places.py      one customer, at each place        written.py   everybody's lists, as a table                 show.py    on the terminal
offpolicy.py   what another list would have earned        logged.py    the same, from a file of what was shown
"""
