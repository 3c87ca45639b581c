"""How everything looks, in one place: pages, report, notebook output, and later the console.

sheet.css     colours, spacing, type, light and dark; profile.css, report.css: what only those pages need
numbers.py    numbers, money, dates as a person of one language reads them
svg.py        the few pieces charts are drawn with
charts/       small charts as inline SVG
page.py       self-contained pages and fragments (imports Jinja: take it from there)
"""

from huaxiang.look.numbers import Numbers

__all__ = ["Numbers"]
