"""The command `huaxiang`: one command a step, in English or Chinese (`--lang`, or the terminal's own language).

run.py       the process and how it ends      terminal.py   language, terminal, what commands share
journey.py   init, collect … run, demo        look.py       table, features, stream
brought.py   model add, list, remove           serve.py      serve, source
care.py      quarantine, backup, restore, doctor, check   keys.py   key add, list, close; audit
"""

from huaxiang.cli.run import main, run_words
from huaxiang.cli.terminal import app

__all__ = ["app", "main", "run_words"]
