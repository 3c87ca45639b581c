"""SASRec of RecBole and of RecTools trained for a while and timed; run by bench/train_speed.py with the Python of each one's venv.

    python bench/train_peers.py recbole --data train.txt --batch 2048 --minutes 1 --seed 1 --out found.json

data: a file of the s3rec format that holds training events alone, at most `--length` + 1 of each user. Writes how many users and
targets were trained on, in how many seconds, once the first batches were over (loading of batches included, as each library does it).
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from measure import Timer

WARM = 3  # batches at least that are not timed
WARM_SHARE = 0.1  # of the minutes, at least


class Clock:
    """Told at the beginning of each batch and at the end of the last; times all but the first ones, until time is up."""

    def __init__(self, minutes: float) -> None:
        self.minutes, self.began = minutes, time.perf_counter()
        self.batches = 0
        self.units = 0  # samples of the timed batches
        self.losses: list[float] = []  # one a batch, of all batches
        self.first_epoch = 0  # batches of it, once it is over
        self.timer: Timer | None = None
        self.done = False

    def begin(self) -> bool:
        """Whether another batch is to be trained on."""
        spent = time.perf_counter() - self.began
        if self.timer is None and self.batches >= WARM and spent >= WARM_SHARE * 60 * self.minutes:
            self.timer = Timer().__enter__()
        if self.timer is not None and spent > 60 * self.minutes and self.units:
            self.stop()
        return not self.done

    def count(self, units: int) -> None:
        """A batch of so many samples is under way."""
        self.batches += 1
        self.units += units if self.timer is not None else 0

    def stop(self) -> None:
        if not self.done and self.timer is not None:
            self.timer.__exit__()
        self.done = True

    def found(self, users_per_unit: float, targets_per_unit: float, parameters: dict[str, int]) -> dict[str, Any]:
        assert self.timer is not None
        last = self.losses[-max(len(self.losses) // 10, 1) :]
        return {
            "users": self.units * users_per_unit,
            "targets": self.units * targets_per_unit,
            "seconds": self.timer.seconds,
            "cpu_s": self.timer.cpu_s,
            "peak_gb": self.timer.peak_gb,
            "others": self.timer.others,
            "batches": self.batches,
            "loss_last": sum(last) / len(last),
            "loss_epoch_1": sum(self.losses[: self.first_epoch]) / self.first_epoch if self.first_epoch else None,
            "parameters": parameters,
        }


def run_recbole(options: argparse.Namespace, histories: list[list[str]]) -> dict[str, Any]:
    """A sample is a prefix of a user's sequence with the item after it; an epoch has a sample for each target."""
    from recbole.config import Config
    from recbole.data import create_dataset
    from recbole.data.dataloader import TrainDataLoader
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train").mkdir()
        lines = ["user_id:token\titem_id:token\ttimestamp:float"]
        lines += [f"{user}\t{item}\t{place}" for user, one in enumerate(histories) for place, item in enumerate(one)]
        (Path(folder) / "train" / "train.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
        settings = {
            "data_path": folder, "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "checkpoint_dir": str(Path(folder) / "saved"), "use_gpu": False, "show_progress": False, "seed": options.seed,
            "reproducibility": False, "MAX_ITEM_LIST_LENGTH": options.length, "train_batch_size": options.batch,
            "train_neg_sample_args": None, "loss_type": "CE", "learning_rate": options.rate,
            "n_layers": options.layers, "n_heads": options.heads, "hidden_size": options.width, "inner_size": 3 * options.width,
            "hidden_dropout_prob": options.dropout, "attn_dropout_prob": options.dropout,
        }  # fmt: skip
        config = Config(model="SASRec", dataset="train", config_dict=settings)
        init_seed(options.seed, False)
        torch.set_num_threads(options.threads)
        dataset = create_dataset(config)
        dataset._change_feat_format()  # a row a target, with what was before it; what build() does before it splits
        loader = TrainDataLoader(config, dataset, None, shuffle=True)
        model = SASRec(config, dataset)
        trainer = Trainer(config, model)
    targets = sum(len(one) - 1 for one in histories)
    assert len(dataset) == targets, (len(dataset), targets)
    clock = Clock(options.minutes)

    class Watched:
        def __iter__(self) -> Any:
            batches = iter(loader)
            while clock.begin() and (batch := next(batches, None)) is not None:
                clock.count(len(batch))
                yield batch

    def loss_of(batch: Any) -> torch.Tensor:
        loss: torch.Tensor = model.calculate_loss(batch)
        clock.losses.append(float(loss.detach()))
        return loss

    epoch = 0
    while not clock.done:
        trainer._train_epoch(Watched(), epoch, loss_func=loss_of)
        if not clock.done and not epoch:
            clock.first_epoch = clock.batches
        epoch += 1
    return clock.found(len(histories) / targets, 1.0, _parameters(model, "item_embedding"))


def run_rectools(options: argparse.Namespace, histories: list[list[str]]) -> dict[str, Any]:
    """A sample is a user's whole sequence."""
    import pandas as pd
    from pytorch_lightning import Callback, Trainer, seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(options.seed, verbose=False)
    torch.set_num_threads(options.threads)
    events = [(user, item, 1.0, place) for user, one in enumerate(histories) for place, item in enumerate(one)]
    frame = pd.DataFrame(events, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
    frame[Columns.Datetime] = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame[Columns.Datetime], unit="D")

    class Watch(Callback):
        clock: Clock | None = None

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> int | None:
            if self.clock is None:
                self.clock = Clock(options.minutes)
            if not self.clock.begin():
                trainer.should_stop = True
                return -1  # leaves the epoch
            self.clock.count(len(batch["x"]))
            return None

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            assert self.clock is not None
            self.clock.losses.append(float(outputs["loss"]))

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if self.clock is not None and not self.clock.done and not self.clock.first_epoch:
                self.clock.first_epoch = self.clock.batches

    model = SASRecModel(
        n_blocks=options.layers, n_heads=options.heads, n_factors=options.width, dropout_rate=options.dropout,
        session_max_len=options.length, loss="softmax", lr=options.rate, batch_size=options.batch, epochs=1000,
    )  # fmt: skip
    model._trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=1000, callbacks=[Watch()],
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    model.fit(Dataset.construct(frame))
    clock = next(one.clock for one in model.fit_trainer.callbacks if isinstance(one, Watch))  # it trains with a copy
    assert clock is not None
    targets = sum(len(one) - 1 for one in histories)
    return clock.found(1.0, targets / len(histories), _parameters(model.torch_model, "item_model"))


def _parameters(model: torch.nn.Module, items: str) -> dict[str, int]:
    """How many numbers the items' vectors have, and the rest."""
    named = {name: value.numel() for name, value in model.named_parameters()}
    of_items = sum(count for name, count in named.items() if name.startswith(items))
    return {"items": of_items, "rest": sum(named.values()) - of_items}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("library", choices=["recbole", "rectools"])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--minutes", type=float, default=1)
    asked.add_argument("--batch", type=int, default=128)
    asked.add_argument("--seed", type=int, default=1)
    for name, value in (("length", 50), ("layers", 2), ("heads", 2), ("width", 64), ("threads", 2)):
        asked.add_argument(f"--{name}", type=int, default=value)
    asked.add_argument("--dropout", type=float, default=0.4)
    asked.add_argument("--rate", type=float, default=1e-3)
    options = asked.parse_args()
    histories = [line.split()[1:] for line in options.data.read_text(encoding="utf-8").splitlines()]
    found = (run_recbole if options.library == "recbole" else run_rectools)(options, histories)
    options.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
