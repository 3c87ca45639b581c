"""The training loop: gone on with after a kill, in several processes, from a file; what is learned from each objective."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from huaxiang.errors import ModelError
from huaxiang.models.behaviour import Behaviour, BehaviourConfig, Run
from huaxiang.models.behaviour import train as loop
from huaxiang.models.behaviour.lesson import ask_last, learn, learn_in_processes, load_lesson, write_lesson
from huaxiang.models.behaviour.network import Network
from huaxiang.models.behaviour.source import InMemory, Stored, write_sequences
from huaxiang.models.behaviour.train import stretches
from huaxiang.models.next_item.sequences import Items, Sequences, from_lists

ITEMS = 30
SMALL = BehaviourConfig(
    width=8, heads=2, layers=1, batch=64, epochs=4, dropout=0.1, input_dropout=0.1, warmup=2, threads=1
)


def shoppers(users: int = 120, seed: int = 1) -> Sequences:
    """Everybody walks up the items from where they began, item 29 before 0."""
    chance = np.random.default_rng(seed)
    first, count = chance.integers(0, ITEMS, users), chance.integers(2, 9, users)
    every = from_lists([[int((a + k) % ITEMS) for k in range(n)] for a, n in zip(first, count, strict=True)])
    events = len(every.item)
    return replace(
        every,
        ts=np.sort(chance.integers(10**9, 10**9 + 10**7, events)),
        kind=chance.integers(0, 3, events),
        price=chance.uniform(1, 9, events),
    )


def items() -> Items:
    return Items(tuple(map(str, range(ITEMS))), groups={"category": np.arange(ITEMS) // 10 + 1})


def same(one: Behaviour, other: Behaviour) -> bool:
    a, b = one.state(), other.state()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class KilledError(Exception):
    pass


def die_after(words: int) -> Run:
    """A run that is killed when it says for the n-th time where it stands."""
    done = 0

    def told(said: dict[str, float]) -> None:
        nonlocal done
        done += 1
        if done == words:
            raise KilledError

    return Run(told=told)


RICH = replace(
    SMALL,
    kinds=True,
    times=True,
    prices=True,
    also=("kind", "gap", "category"),
    contrast=0.1,
    window=3,
    negatives=16,
    decay=True,
)


def telling(monkeypatch: pytest.MonkeyPatch, tell_s: float, every_s: float = 60.0) -> None:
    """How often training says where it stands, and writes a checkpoint, within a piece."""
    monkeypatch.setattr("huaxiang.models.behaviour.train.TELL_S", tell_s)
    monkeypatch.setattr("huaxiang.models.behaviour.train.EVERY_S", every_s)


@pytest.mark.parametrize("config", [SMALL, RICH], ids=["plain", "every objective"])
def test_a_killed_training_goes_on_to_the_same_result(
    config: BehaviourConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling(monkeypatch, 1e9)  # once a piece
    whole = Behaviour(config).fit(shoppers(), items(), seed=1)
    at = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        Behaviour(config).fit(shoppers(), items(), seed=1, run=replace(die_after(3), checkpoint=at))
    assert at.exists()
    epochs: list[float] = []
    resumed = Behaviour(config).fit(shoppers(), items(), seed=1, run=Run(at, lambda said: epochs.append(said["epoch"])))
    assert epochs == [3, 4]  # two were done
    assert same(whole, resumed)
    assert [one["loss"] for one in whole.curve] == [one["loss"] for one in resumed.curve]
    assert [one["steps"] for one in whole.curve] == [one["steps"] for one in resumed.curve]


@pytest.mark.parametrize("step", [2, 5])
def test_one_epoch_of_one_piece_tells_and_is_gone_on_with_step_by_step(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling(monkeypatch, 0.0, 0.0)
    config, at = replace(RICH, epochs=1, accumulate=2), tmp_path / "checkpoint.safetensors"
    told: list[dict[str, float]] = []
    whole = Behaviour(config).fit(shoppers(), items(), seed=1, run=Run(told=told.append))
    done = [said["done"] for said in told]
    assert len(done) > 5 and done == sorted(set(done)) and done[-1] == 1
    assert all(np.isfinite(list(said.values())).all() and said["left_s"] >= 0 for said in told)
    with pytest.raises(KilledError):
        Behaviour(config).fit(shoppers(), items(), seed=1, run=replace(die_after(step), checkpoint=at))
    more: list[float] = []
    resumed = Behaviour(config).fit(shoppers(), items(), seed=1, run=Run(at, lambda said: more.append(said["done"])))
    assert more == done[step - 1 :]  # nothing is done twice but the step in which it was killed
    assert same(whole, resumed)
    assert [one["steps"] for one in whole.curve] == [one["steps"] for one in resumed.curve]


def test_two_processes_tell_where_they_stand_and_go_on_after_a_kill(tmp_path: Path) -> None:
    every, config = shoppers(), replace(SMALL, epochs=3)

    def taught(folder: Path, run: Run) -> list[float]:
        write_lesson(folder, items(), ask_last(every.take(np.arange(20))), config, 1)
        write_sequences(every, folder / "sequences.parquet")
        told: list[float] = []

        def tell(said: dict[str, float]) -> None:
            told.append(said["done"])
            run.told(said)

        learn_in_processes(folder, 2, tell)
        return told

    done = taught(tmp_path / "whole", Run())
    assert done == sorted(set(done)) and len(done) >= 3 and done[-1] == 1
    with pytest.raises(KilledError):
        taught(tmp_path / "killed", die_after(len(done) - 1))
    assert taught(tmp_path / "killed", Run())[-1] == 1
    assert same(load_lesson(tmp_path / "killed")[0], load_lesson(tmp_path / "whole")[0])


def test_processes_that_fail_say_why(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"lesson\.json"):
        learn_in_processes(tmp_path, 2)


def test_one_epoch_leaves_a_curve() -> None:
    """Of the losses since the last point: weighed by their events they are the epoch's."""
    config = replace(SMALL, epochs=1, batch=64, rate=1e-2, warmup=1)
    [epoch] = Behaviour(config).fit(shoppers(), items(), seed=1).curve
    done, losses = zip(*epoch["steps"], strict=True)
    assert len(done) > 5 and list(done) == sorted(done) and done[-1] == 1
    third = len(losses) // 3
    assert np.mean(losses[-third:]) < np.mean(losses[:third])
    assert min(losses) < epoch["loss"] < max(losses)
    many = Behaviour(replace(SMALL, epochs=4)).fit(shoppers(), items(), seed=1).curve
    assert [round(one["steps"][-1][0], 6) for one in many] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path: Path) -> None:
    at = tmp_path / "checkpoint.safetensors"
    Behaviour(SMALL).fit(shoppers(), items(), seed=1, run=Run(at))
    fresh = Behaviour(SMALL).fit(shoppers(), items(), seed=2, run=Run(at))
    assert same(fresh, Behaviour(SMALL).fit(shoppers(), items(), seed=2))


def test_a_killed_lesson_is_not_gone_on_with_where_what_is_known_of_items_has_changed(tmp_path: Path) -> None:
    """One brand more makes the table of tags wider; the same number of tags may mean other brands."""
    every, config = shoppers(), replace(SMALL, tags=True)

    def taught(folder: Path, brands: int, kill: bool = False) -> Behaviour:
        tags = csr_matrix((np.ones(ITEMS), (np.arange(ITEMS), np.arange(ITEMS) % brands)), shape=(ITEMS, brands))
        write_lesson(folder, replace(items(), tags=tags), ask_last(every.take(np.arange(20))), config, 1)
        write_sequences(every, folder / "sequences.parquet")
        if kill:
            with pytest.raises(KilledError):
                learn(folder, die_after(2).told)
        else:
            learn(folder)
        return load_lesson(folder)[0] if not kill else Behaviour(config)

    taught(tmp_path / "killed", 3, kill=True)
    assert same(taught(tmp_path / "killed", 4), taught(tmp_path / "whole", 4))


def test_a_file_of_pieces_is_read_to_the_same_sequences(tmp_path: Path) -> None:
    every = shoppers()
    write_sequences(every, tmp_path / "s.parquet", users=50)
    stored = Stored(tmp_path / "s.parquet")
    assert (stored.pieces, stored.users, stored.events) == (3, 120, len(every.item))
    second = stored.piece(1)
    wanted = every.take(np.arange(50, 100))
    for name in ("starts", "item", "ts", "kind", "price"):
        np.testing.assert_array_equal(getattr(second, name), getattr(wanted, name))
    np.testing.assert_array_equal(stored.taken(ITEMS + 2), InMemory(every).taken(ITEMS + 2))


def test_training_from_a_file_is_killed_between_its_pieces_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling(monkeypatch, 1e9, 0.0)
    write_sequences(shoppers(), tmp_path / "s.parquet", users=50)
    stored = Stored(tmp_path / "s.parquet")
    whole = Behaviour(SMALL).fit(stored, items(), seed=1)
    at = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        Behaviour(SMALL).fit(stored, items(), seed=1, run=replace(die_after(5), checkpoint=at))
    resumed = Behaviour(SMALL).fit(stored, items(), seed=1, run=Run(at))
    assert same(whole, resumed)


TWO = """
import sys, time, torch, torch.distributed as dist
from pathlib import Path
sys.path.insert(0, {here!r})
from test_behaviour_training import SMALL, items, shoppers
from dataclasses import replace
from huaxiang.models.behaviour import Behaviour
from huaxiang.models.next_item.zoo import save_next
dist.init_process_group("gloo")
time.sleep({late} * dist.get_rank())
model = Behaviour(replace(SMALL, dropout=0.0, input_dropout=0.0{more})).fit(shoppers(), items(), seed=1)
save_next(model, Path({out!r}) / str(dist.get_rank()))
dist.destroy_process_group()
"""


def test_two_processes_do_what_one_does_with_twice_the_batches_a_step(tmp_path: Path) -> None:
    """A real torchrun with gloo; without dropout, whose draws differ between processes."""
    first, second = train_in_two(tmp_path)
    assert same(first, second)
    alone = Behaviour(replace(SMALL, dropout=0.0, input_dropout=0.0, accumulate=2)).fit(shoppers(), items(), seed=1)
    one, other = alone.state(), first.state()
    assert all(np.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_two_processes_go_by_one_clock_where_minutes_end_the_training(tmp_path: Path) -> None:
    """The second begins late: were each to go by its own clock, they would learn at other rates, and wait for each other for ever."""
    first, second = train_in_two(tmp_path, late=0.5, more=", decay=True, epochs=10_000, patience=10_000, minutes=0.05")
    assert same(first, second)


def train_in_two(tmp_path: Path, *, late: float = 0.0, more: str = "") -> tuple[Behaviour, Behaviour]:
    """What each of two processes ends with."""
    from huaxiang.models.next_item.zoo import load_next

    script = tmp_path / "two.py"
    script.write_text(TWO.format(here=str(Path(__file__).parent), out=str(tmp_path), late=late, more=more))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    ran = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    first, second = (load_next(tmp_path / name) for name in ("0", "1"))
    assert isinstance(first, Behaviour) and isinstance(second, Behaviour)
    return first, second


def test_the_loss_falls_and_the_walk_is_learned() -> None:
    model = Behaviour(replace(SMALL, epochs=40, rate=1e-2)).fit(shoppers(400), items(), seed=1)
    assert model.curve[-1]["loss"] < 0.5 * model.curve[0]["loss"]
    listed, _ = model.top(from_lists([[3, 4, 5], [28, 29]]), 1)
    assert listed[:, 0].tolist() == [6, 0]


def test_half_precision_learns_the_walk_too() -> None:
    model = Behaviour(replace(SMALL, epochs=40, rate=1e-2, bf16=True)).fit(shoppers(400), items(), seed=1)
    assert model.top(from_lists([[3, 4, 5]]), 1)[0].tolist() == [[6]]


def test_what_is_foreseen_beside_the_item_is_learned() -> None:
    """The category of the next item hangs on the item: its head's loss falls below that of the shares."""
    config = replace(SMALL, epochs=30, rate=1e-2, also=("category",), also_weight=1.0)
    model = Behaviour(config).fit(shoppers(400), items(), seed=1)
    plain = Behaviour(replace(config, also=())).fit(shoppers(400), items(), seed=1)
    assert "category" in model.network.also and "category" not in plain.network.also
    assert model.curve[-1]["loss"] - plain.curve[-1]["loss"] < 0.5 * np.log(3)


def test_vectors_and_lists_of_one_are_those_beside_others() -> None:
    model = Behaviour(RICH).fit(shoppers(), items(), seed=1)
    some = shoppers(20, seed=3)
    every, listed = model.user_vectors(some), model.top(some, 5)[0]
    assert every.shape == (20, 16) and np.allclose(np.linalg.norm(every[:, :8], axis=1), 1)
    for place in range(20):
        one = some.take(np.array([place]))
        assert np.allclose(model.user_vectors(one)[0], every[place], atol=1e-5)
        assert model.top(one, 5)[0][0].tolist() == listed[place].tolist()
    assert not model.user_vectors(from_lists([[]])).any()


def test_what_a_customer_had_is_listed_only_where_asked() -> None:
    model = Behaviour(SMALL).fit(shoppers(), items(), seed=1)
    history = from_lists([[1, 2, 3]])
    assert not set(model.top(history, ITEMS - 3)[0][0]) & {1, 2, 3}
    assert {1, 2, 3} <= set(model.top(history, ITEMS, seen=True)[0][0].tolist())


def test_a_new_item_is_known_by_its_content() -> None:
    """Item 29 was never taken; its content vector is that of item 5, so it is scored beside it."""
    chance = np.random.default_rng(1)
    content = chance.normal(size=(ITEMS, 6)).astype(np.float32)
    content[29] = content[5]
    every = from_lists([[int((a + k) % 29) for k in range(6)] for a in chance.integers(0, 29, 300)])
    about = replace(items(), content=content)
    config = replace(SMALL, content=True, epochs=30, rate=1e-2, id_dropout=0.5)
    model = Behaviour(config).fit(every, about, seed=1)
    scores = model.score(from_lists([[2, 3, 4]]))[0]
    assert scores[29] > np.quantile(scores, 0.8)
    assert json.dumps({"curve": model.curve})


def test_a_step_goes_by_the_mean_of_the_gradients_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch's gradient is found alone, at the weights that the step began with; no chance but the order takes part."""
    steps: list[list[torch.Tensor]] = []
    batches: list[list[torch.Tensor]] = []
    clip, real = torch.nn.utils.clip_grad_norm_, loop._loss

    def clipped(parameters: Iterable[torch.nn.Parameter], most: float) -> torch.Tensor:
        every = list(parameters)
        steps.append([one.grad.clone() for one in every if one.grad is not None])
        return clip(every, most)

    def watched(network: Network, *rest: Any) -> tuple[torch.Tensor, int]:
        loss, events = real(network, *rest)
        own = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        batches.append([one.clone() for one in own])
        return loss, events

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clipped)
    monkeypatch.setattr(loop, "_loss", watched)
    Behaviour(replace(SMALL, dropout=0.0, input_dropout=0.0, epochs=1, accumulate=3)).fit(shoppers(), items(), seed=1)
    assert len(steps) == -(-len(batches) // 3) and len(batches) > 6
    for place, found in enumerate(steps):
        group = batches[3 * place : 3 * place + 3]  # the last may be of fewer
        for number, one in enumerate(found):
            assert torch.allclose(one, torch.stack([own[number] for own in group]).mean(dim=0), atol=1e-6)


def test_an_item_that_nothing_is_known_of_comes_last() -> None:
    """29 is new and has neither tags nor content; of the items that are known, some do not fit at all: their cosine is below 0."""
    chance = np.random.default_rng(1)
    every = from_lists([[int((a + k) % 29) for k in range(6)] for a in chance.integers(0, 29, 300)])
    model = Behaviour(replace(SMALL, epochs=10, rate=1e-2)).fit(every, items(), seed=1)
    history = from_lists([[2, 3, 4], [20], []])
    scores = model.score(history)
    assert (scores[:2].min(axis=1) < 0).all() and np.isfinite(scores).all()
    assert (scores[:, 29] < scores[:, :29].min(axis=1)).all()
    assert (model.top(history, ITEMS, seen=True)[0][:, -1] == 29).all()
    again = Behaviour.from_state(model.config, model.state())
    assert np.array_equal(again.score(history), scores)


def test_long_histories_are_cut_so_that_every_event_is_a_target_once() -> None:
    every = from_lists([list(range(23)), [50], list(range(60, 65)), [70, 71]])
    for seed in range(20):
        found = stretches(every, 6, np.random.default_rng(seed))
        assert found.lengths.max() <= 6 and found.lengths.min() >= 2
        targets = [item for k in range(len(found)) for item in found.take(np.array([k])).item[1:].tolist()]
        assert sorted(targets) == [*range(1, 23), *range(61, 65), 71]
        assert all((np.diff(found.take(np.array([k])).item) == 1).all() for k in range(len(found)))


def test_the_rate_falls_with_the_epochs_or_the_minutes_whichever_is_over_sooner() -> None:
    from huaxiang.models.behaviour.checkpoint import Standing
    from huaxiang.models.behaviour.train import _rate

    source, standing = InMemory(shoppers()), Standing(epoch=1, step=10)
    config = replace(SMALL, decay=True, warmup=1, rate=1.0, epochs=4)
    assert _rate(config, standing, source, 0.0, 0.0) == pytest.approx(0.75)
    timed = replace(config, minutes=2.0)
    assert _rate(timed, standing, source, 0.0, 12.0) == pytest.approx(0.75)
    assert _rate(timed, standing, source, 0.0, 90.0) == pytest.approx(0.25)
    assert _rate(timed, standing, source, 0.0, 500.0) == 0.0
