"""The behaviour model: what customers do next, learned from the sequences of all of them. Needs PyTorch (huaxiang[deep]).

config.py      settings and sizes              blocks.py   Transformer, HSTU-like, GRU and causal convolution
network.py     events → vectors → items        batches.py  batches of like length, flat
context.py     type, gap, hour, weekday and price of an event
loss.py        the softmax over items          contrast.py pieces of one history belong together
source.py      sequences from memory or from a file
train.py       the loop                        checkpoint.py  what a killed run goes on from
begin.py       where item vectors begin        lesson.py   a training as a folder
model.py       fit, score, state, vectors, lists
"""

from huaxiang.models.behaviour.config import SIZES, BehaviourConfig, Size, fitting, size_for, sized
from huaxiang.models.behaviour.model import Behaviour
from huaxiang.models.behaviour.train import Run

__all__ = ["SIZES", "Behaviour", "BehaviourConfig", "Run", "Size", "fitting", "size_for", "sized"]
