"""The behaviour model: what customers do next, learned from the sequences of all of them. Needs PyTorch (huaxiang[deep]).

config.py    settings and sizes            blocks.py   Transformer, HSTU-like, GRU and causal convolution
network.py   events → vectors → items      batches.py  batches of like length
context.py   type, gap, hour and weekday of an event
loss.py      the full softmax in pieces
model.py     fit, score, embed, state
"""

from huaxiang.models.behaviour.config import BehaviourConfig, fitting, sized
from huaxiang.models.behaviour.model import Behaviour

__all__ = ["Behaviour", "BehaviourConfig", "fitting", "sized"]
