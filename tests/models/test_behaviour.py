"""The parts of the behaviour model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from huaxiang.models.behaviour.batches import deal, padded
from huaxiang.models.behaviour.context import context_of, context_sizes
from huaxiang.models.behaviour.loss import PIECE, full_softmax, sampled_softmax
from huaxiang.models.next_item.sequences import from_lists


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [1, PIECE, PIECE + 3])
def test_full_softmax_in_pieces_is_cross_entropy(smoothing: float, rows: int) -> None:
    torch.manual_seed(1)
    x, w = torch.randn(rows, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    target = torch.randint(50, (rows,))
    plain = cross_entropy(x @ w.T, target, label_smoothing=smoothing)
    ours = full_softmax(x, w, target, smoothing)
    assert torch.allclose(plain, ours, atol=1e-5)
    for one, other in zip(torch.autograd.grad(plain, (x, w)), torch.autograd.grad(ours, (x, w)), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_full_softmax_holds_great_logits() -> None:
    x, w = torch.tensor([[1e4]]), torch.tensor([[1.0], [-1.0]])
    assert float(full_softmax(x, w, torch.tensor([0]))) == pytest.approx(0.0)


def test_sampled_softmax_over_all_items_is_the_full_one() -> None:
    torch.manual_seed(1)
    x, w, target = torch.randn(9, 4), torch.randn(12, 4), torch.randint(12, (9,))
    found = sampled_softmax(x, w, target, torch.arange(12), torch.zeros(12))
    assert torch.allclose(found, cross_entropy(x @ w.T, target), atol=1e-5)


def test_sampled_softmax_takes_the_draw_out_of_the_logits() -> None:
    """Item 1 is drawn twice as often as it should be, and item 2 once: its exp(logit) still counts once."""
    x, w = torch.ones(1, 1), torch.tensor([[0.0], [1.0], [2.0]])
    found = sampled_softmax(x, w, torch.tensor([0]), torch.tensor([1, 1, 2]), torch.tensor([1.0, 2.0, 1.0]).log())
    assert torch.allclose(found, cross_entropy(x @ w.T, torch.tensor([0])), atol=1e-5)


def test_batches_hold_every_customer_once_and_no_more_than_asked() -> None:
    lengths = np.random.default_rng(1).integers(1, 40, 500)
    found = deal(lengths, 200, np.random.default_rng(2))
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    padded_sizes = [int(lengths[users].max()) * len(users) for users in found]
    assert max(padded_sizes) <= 200
    assert sum(padded_sizes) < 1.1 * lengths.sum()  # little of it padding


def test_a_customer_longer_than_a_batch_is_a_batch() -> None:
    assert [users.tolist() for users in deal(np.array([500, 2]), 10, None)] == [[1], [0]]


def test_padding_stands_behind() -> None:
    some = from_lists([[1, 2], [3], []])
    assert padded(some, some.item, 9).tolist() == [[1, 2], [3, 9], [9, 9]]


def test_context_by_hand() -> None:
    """1970-01-05 was a Monday; a type unknown in training is 0."""
    monday = 4 * 86_400
    some = replace(
        from_lists([[1, 2], [3]]), ts=np.array([monday + 3600, monday + 3603, monday - 1]), kind=np.array([0, 2, 1])
    )
    sizes = context_sizes(replace(some, kind=np.array([0, 1, 1])), kinds=True, times=True)
    found = context_of(some, sizes)
    assert found["kind"].tolist() == [1, 0, 2]
    assert found["gap"].tolist() == [0, 3, 0]  # three seconds later: log2(4) + 1; the first of a user: none before it
    assert found["hour"].tolist() == [2, 2, 24] and found["weekday"].tolist() == [1, 1, 7]
    assert context_of(from_lists([[1]]), sizes) == {"kind": [0], "gap": [0], "hour": [0], "weekday": [0]}
