"""`torchrun --nproc-per-node 2 -m huaxiang.models.behaviour FOLDER`: see lesson.py."""

from __future__ import annotations

import sys

from huaxiang.models.behaviour.lesson import main

if __name__ == "__main__":
    main(sys.argv[1:])
