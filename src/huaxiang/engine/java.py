"""The Java that Spark runs on: found and old enough to be told before Spark fails in its own words."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from huaxiang.errors import ShopError

OLDEST = 17  # what Spark 4.0 is built for


def check_java(environ: Mapping[str, str]) -> int:
    """The major version of the Java that JAVA_HOME or PATH names; raises ShopError where there is none, or an older one."""
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH", ""))
    if java is None or not Path(java).is_file():
        raise ShopError("spark.no_java", place=f"JAVA_HOME={home}" if home else "PATH", oldest=OLDEST)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if told.returncode or found is None:
        raise ShopError("spark.no_java", place=java, oldest=OLDEST)
    version = int(found[1])
    if version < OLDEST:
        raise ShopError("spark.old_java", place=java, version=version, oldest=OLDEST)
    return version
