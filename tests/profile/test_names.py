"""What a feature is called: by the catalogue, else by what its definition says."""

from __future__ import annotations

import pytest

from huaxiang.profile.names import Names
from huaxiang.words import Lang

NAMES = Names({"share_3d7774ef": {"en": "share of spend on 护肤", "zh": "在“护肤”的消费占比"}})


@pytest.mark.parametrize(
    ("name", "lang", "said"),
    [
        ("share_3d7774ef", "en", "Share of spend on 护肤"),
        ("share_3d7774ef", "zh", "在“护肤”的消费占比"),
        ("recency_days", "en", "Last purchase"),
        ("recency_days", "zh", "最近购买"),
        ("made_up", "en", "Made up"),
    ],
)
def test_a_name_is_what_a_person_reads(name: str, lang: Lang, said: str) -> None:
    assert NAMES.label(name)[lang] == said
