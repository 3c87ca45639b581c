"""The shop's report: one HTML file that a person can read, print, or send.

write_report    the whole shop                       (shop.py, from what gather.py reads out of the lake)
quality_page    a quality report alone               (quality.py)
table_page      the exam of a plain table            (table.py)
cards.py        score cards, for the report and alone
"""

from huaxiang.report.quality import quality_page
from huaxiang.report.shop import shop_report, write_report
from huaxiang.report.table import table_page

__all__ = ["quality_page", "shop_report", "table_page", "write_report"]
