"""The parts of the behaviour model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from huaxiang.errors import ModelError
from huaxiang.models.behaviour.batches import deal, training_batch
from huaxiang.models.behaviour.begin import pair_vectors
from huaxiang.models.behaviour.blocks import BLOCKS, Layout
from huaxiang.models.behaviour.config import FULL, NEGATIVES, BehaviourConfig, fitting, size_for, sized
from huaxiang.models.behaviour.context import Context, learn_context
from huaxiang.models.behaviour.contrast import contrast_loss, two_pieces
from huaxiang.models.behaviour.loss import PIECE, full_softmax, sampled_softmax
from huaxiang.models.behaviour.model import device_of
from huaxiang.models.behaviour.network import FADE, Network
from huaxiang.models.behaviour.source import InMemory
from huaxiang.models.next_item.sequences import Items, from_lists
from huaxiang.models.pretrain import configure
from huaxiang.settings import BehaviourSettings


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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sampled_softmax_over_all_items_is_the_full_one(smoothing: float) -> None:
    torch.manual_seed(1)
    x, w, target = torch.randn(9, 4), torch.randn(12, 4), torch.randint(12, (9,))
    x.requires_grad_()
    found = sampled_softmax(x, w, target, torch.arange(12), torch.zeros(12), smoothing)
    wanted = cross_entropy(x @ w.T, target, label_smoothing=smoothing)
    assert torch.allclose(found, wanted, atol=1e-5)
    slopes = [torch.autograd.grad(one, x)[0] for one in (found, wanted)]
    assert torch.allclose(*slopes, atol=1e-6)


def test_losses_make_all_they_need_where_their_inputs_are() -> None:
    """On "meta", which like a GPU takes no tensor of the processor."""
    x, w = torch.empty(PIECE + 1, 4, device="meta"), torch.empty(9, 4, device="meta")
    target, drawn = (torch.zeros(count, dtype=torch.long, device="meta") for count in (PIECE + 1, 5))
    assert full_softmax(x, w, target, 0.1).device.type == "meta"
    assert sampled_softmax(x, w, target, drawn, torch.empty(9, device="meta"), 0.1).device.type == "meta"


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


def test_flat_events_are_laid_out_and_gathered() -> None:
    at = Layout(torch.tensor([2, 1, 3]))
    x = torch.arange(1.0, 7.0)[:, None]
    assert at.spread(x)[..., 0].tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert torch.equal(at.gather(at.spread(x)), x)
    assert at.ends.tolist() == [1, 2, 5] and at.user.tolist() == [0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize("encoder", list(BLOCKS))
def test_a_customer_is_read_alike_alone_and_beside_longer_ones(encoder: str) -> None:
    torch.manual_seed(1)
    block = BLOCKS[encoder](BehaviourConfig(encoder=encoder, width=8, heads=2)).eval()  # type: ignore[arg-type]
    x = torch.randn(9, 8)
    together = block(x, Layout(torch.tensor([2, 4, 3])))
    alone = [block(part, Layout(torch.tensor([len(part)]))) for part in x.split([2, 4, 3])]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


@pytest.mark.parametrize("encoder", list(BLOCKS))
def test_no_event_sees_those_after_it(encoder: str) -> None:
    torch.manual_seed(1)
    block = BLOCKS[encoder](BehaviourConfig(encoder=encoder, width=8, heads=2)).eval()  # type: ignore[arg-type]
    x, at = torch.randn(5, 8), Layout(torch.tensor([5]))
    changed = torch.cat([x[:3], torch.randn(2, 8)])
    assert torch.allclose(block(x, at)[:3], block(changed, at)[:3], atol=1e-6)


def _batch(window: int = 1, also: dict[str, np.ndarray | None] | None = None) -> object:
    some = replace(from_lists([[1, 2, 3, 4], [5, 6]]), kind=np.array([0, 1, 0, 1, 0, 2]))
    return training_batch(
        some, Context(), also or {}, window=window, chance=np.random.default_rng(1), device=torch.device("cpu")
    )


def test_targets_are_what_comes_next() -> None:
    found = _batch(also={"kind": None, "category": np.array([0, 9, 8, 7, 6, 5, 4])})
    assert found.item.tolist() == [1, 2, 3, 5] and found.target.tolist() == [2, 3, 4, 6]
    assert found.also["kind"].tolist() == [2, 1, 2, 3] and found.also["category"].tolist() == [8, 7, 6, 4]


def test_a_window_takes_targets_from_what_follows_and_no_further() -> None:
    allowed = {1: {2, 3}, 2: {3, 4}, 3: {4}, 5: {6}}
    met: dict[int, set[int]] = {}
    chance = np.random.default_rng(1)
    some = from_lists([[1, 2, 3, 4], [5, 6]])
    for _ in range(50):
        batch = training_batch(some, Context(), {}, window=2, chance=chance, device=torch.device("cpu"))
        for one, aim in zip(batch.item.tolist(), batch.target.tolist(), strict=True):
            met.setdefault(one, set()).add(aim)
    assert met == allowed


def test_context_by_hand() -> None:
    """1970-01-05 was a Monday; a type unknown in training is 0."""
    monday = 4 * 86_400
    some = replace(
        from_lists([[1, 2], [3]]), ts=np.array([monday + 3600, monday + 3603, monday - 1]), kind=np.array([0, 2, 1])
    )
    context = learn_context(replace(some, kind=np.array([0, 1, 1])), kinds=True, times=True)
    found = context.of(some)
    assert found["kind"].tolist() == [1, 0, 2]
    assert found["gap"].tolist() == [0, 3, 0]  # three seconds later: log2(4) + 1; the first of a user: none before it
    assert found["hour"].tolist() == [2, 2, 24] and found["weekday"].tolist() == [1, 1, 7]
    assert context.of(from_lists([[1]])) == {"kind": [0], "gap": [0], "hour": [0], "weekday": [0]}


def test_prices_fall_into_bands_of_equally_many_and_unknown_ones_into_none() -> None:
    prices = np.arange(1.0, 161.0)
    context = learn_context(
        replace(from_lists([list(range(160))]), price=prices), kinds=False, times=False, prices=True
    )
    assert context.sizes == {"price": 17}
    some = replace(from_lists([[1, 2, 3, 4, 5]]), price=np.array([0.5, 159.0, np.nan, -3.0, np.inf]))
    assert context.of(some)["price"].tolist() == [1, 16, 0, 0, 0]
    assert learn_context(replace(some, price=np.full(5, np.nan)), kinds=False, times=False, prices=True).sizes == {}


def test_contrast_is_least_where_pieces_of_one_customer_agree() -> None:
    apart = torch.eye(4)
    agree, differ = torch.cat([apart, apart]), torch.cat([apart, apart.roll(1, 0)])
    assert float(contrast_loss(agree)) < 0.01 < 5 < float(contrast_loss(differ))


def test_pieces_are_stretches_of_the_history() -> None:
    some = from_lists([list(range(20)), [30], list(range(40, 48))])
    found = two_pieces(some, np.random.default_rng(1))
    assert len(found) == 6
    for place in range(6):
        own = found.item[found.starts[place] : found.starts[place + 1]]
        whole = some.item[some.starts[place % 3] : some.starts[place % 3 + 1]]
        assert len(own) and set(own) <= set(whole) and (np.diff(own) == 1).all()


def test_sizes_follow_the_events_and_large_wants_a_gpu() -> None:
    assert [size_for(n) for n in (10, 49_999, 50_000, 9_999_999, 10_000_000, 10**9)] == [
        "tiny", "tiny", "small", "small", "base", "base",
    ]  # fmt: skip
    assert sized(BehaviourConfig(), "base").width == 128
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="needs a GPU"):
            sized(BehaviourConfig(), "large")
    with pytest.raises(ModelError, match="no size huge"):
        sized(BehaviourConfig(), "huge")  # type: ignore[arg-type]


@pytest.mark.parametrize("size", ["auto", "tiny", "small", "base"])
def test_a_shop_trains_on_a_gpu_where_every_process_has_one(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = configure(BehaviourSettings(size=size), Items(("a", "b")), 1000)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for processes, device in (("1", "cuda"), ("2", "cuda"), ("3", "cpu")):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert device_of(config).type == device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert device_of(config).type == "cpu"


def test_settings_follow_events_and_items_by_one_rule() -> None:
    """Size, steps, epochs and rivals of a shop's model are those of `fitting`; [behaviour] bounds reads and epochs."""

    def of(events: int, items: int, **said: int) -> BehaviourConfig:
        return configure(BehaviourSettings(**said), Items(tuple(map(str, range(items)))), events)[0]  # type: ignore[arg-type,no-any-return]

    assert [of(10_000, count).negatives for count in (FULL, FULL + 1)] == [0, NEGATIVES]
    assert [of(events, 9).epochs for events in (1_000, 100_000, 400_000, 3_000_000)] == [20, 10, 2, 1]
    assert [of(1_000, 9, epochs=3).epochs, of(1_000, 9, reads=2_000).epochs] == [3, 2]
    assert of(2_000, 9).warmup == 1 and of(10**6, 9).warmup == 100
    plain = fitting(BehaviourConfig(epochs=20), 10_000, FULL + 1, reads=1_000_000)
    made = of(10_000, FULL + 1)
    assert (plain.batch, plain.epochs, plain.negatives) == (made.batch, made.epochs, made.negatives)


def test_bad_settings_say_the_mend() -> None:
    with pytest.raises(ModelError, match="cannot foresee colour"):
        BehaviourConfig(also=("colour",))
    with pytest.raises(ModelError, match="multiple of twice the heads"):
        BehaviourConfig(width=10, heads=4)


def test_item_vectors_begin_near_those_of_items_taken_together() -> None:
    """Two circles of ten items that are never mixed; item 20 was never taken."""
    chance = np.random.default_rng(1)
    every = from_lists([(chance.integers(10, size=8) + 10 * (user % 2)).tolist() for user in range(200)])
    found = pair_vectors(InMemory(every), 21, 8, seed=1)
    scaled = found / np.linalg.norm(found, axis=1, keepdims=True)
    alike = scaled @ scaled.T
    assert alike[:10, :10].mean() > alike[:10, 10:20].mean() + 0.5
    assert np.linalg.norm(found[20]) == pytest.approx(0.3)
    np.testing.assert_array_equal(found, pair_vectors(InMemory(every), 21, 8, seed=1))
    assert np.isfinite(pair_vectors(InMemory(from_lists([[0], [0]])), 1, 8, seed=1)).all()


@pytest.mark.parametrize("by", ["all items", "items of the step"])
def test_last_items_speak_for_themselves(by: str) -> None:
    """Two customers, 0 1 2 and 1: what follows 2 after 1 after 0 is their second vectors, faded, and nothing from the customer before."""
    torch.manual_seed(1)
    network = Network(BehaviourConfig(width=8, direct=2), 3).eval()
    item, at = torch.tensor([0, 1, 2, 1]), Layout(torch.tensor([3, 1]))
    with torch.no_grad():
        before = network.read(item, network.every_item(), {}, at)
        torch.nn.init.normal_(network.after.weight[:3])
        if by == "all items":
            found = network.read(item, network.every_item(), {}, at)
        else:
            code, place = item.flip(0).unique(return_inverse=True)
            found = network.read(place.flip(0), network.item_vectors(code), {}, at, item)
        a, b, c = network.after.weight[:3] * 8**0.5
    assert torch.allclose(found - before, torch.stack([a, b + FADE * a, c + FADE * b, b]), atol=1e-5)
