"""`huaxiang doctor`: whether a shop is well, and what mends it. Reads only, beside a running server too.

finding    Finding: one thing found, in both languages
patient    Patient: the shop as far as it can be opened
folder     checks of settings, keys, disk, lake, vault, models
store      checks of the live store: integrity, layout, log, ids, clock
living     checks of what runs: states, worker, quarantine, sources, pulls
examine    all of them, in their order
"""

from huaxiang.serve.doctor.examine import examine
from huaxiang.serve.doctor.finding import Finding

__all__ = ["Finding", "examine"]
