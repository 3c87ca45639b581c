"""Raw tables in; trusted tables, a quarantine and a quality report out. No row is ever lost.

run.py         clean_tables: the order of things
rules.py       what rejects a row, and what repairs a value: data, with codes
values.py      the SQL that sets values right
judge.py       who is accepted: rules, then duplicates.py and robots.py
refunds.py     returns matched to their purchases
fill.py        holes filled, outliers drawn in (impute.py: by a model)
quarantine.py  rejected rows: kept, counted, released; and the lines that collecting set aside
measure.py     both sides measured; summary.py puts them in the report, quality.py is its shape, show.py prints it
"""

from huaxiang.clean.quality import QualityReport
from huaxiang.clean.quarantine import quarantined, set_aside
from huaxiang.clean.run import clean_tables

__all__ = ["QualityReport", "clean_tables", "quarantined", "set_aside"]
