"""The behaviour model: what customers do next, learned from the sequences of all of them. Needs PyTorch (huaxiang[deep]).

config.py    settings                      blocks.py   Transformer, HSTU-like, GRU and causal convolution
network.py   events → vectors → items      batches.py  batches of like length
context.py   type, gap, hour and weekday of an event
loss.py      the full softmax in pieces
model.py     fit, score, state
"""

from huaxiang.models.behaviour.config import BehaviourConfig, fitting
from huaxiang.models.behaviour.model import Behaviour

__all__ = ["Behaviour", "BehaviourConfig", "fitting"]
