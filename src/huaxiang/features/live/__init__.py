"""The live side of the feature algebra: one event folded into a customer's small state, two states merged, values finished.

state     State: what is kept of a customer, and its bytes
slots     the measures of a plan as slots of a state: step, merge
sessions  sessions from times that arrive in any order
fold      Fold: the features of a shop, compiled: add, merge, finish
arrive    events as they arrive → the rows a fold reads
ledger    which visitor is which user, since when
tail      the events of the log since the last build
rebuild   all that is known of some customers, put together again
held      HeldStates: the states in memory and in a live store
store     LiveStore: every batch of events once, with the links it brings
"""

from huaxiang.features.live.fold import Fold, live_features
from huaxiang.features.live.state import State

__all__ = ["Fold", "State", "live_features"]
