"""What is popular now among those who declared the same: age band, sex, city, channel. It is what a new customer can be shown by.

Of each group (one value of one attribute) an item's share of the attention is drawn towards that of the whole shop, which counts PRIOR events;
a customer's shares are the mean over what they declared. What was declared is taken as it is known now, on past days, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags

from huaxiang.apply.recommend.past import Floats, Past
from huaxiang.models.next_item.base import strongest

PRIOR = 100.0  # events of the whole shop, set by hand
NAME = "peers"


@dataclass(frozen=True)
class Peers:
    """groups: (G,) as `Past.declared` writes them, sorted; shares: (G, V) of each group its items of most attention, for which they sum to 1 or less."""

    groups: NDArray[np.str_]
    shares: csr_matrix

    def of(self, past: Past, keep: int) -> csr_matrix:
        """(U, V) the `keep` items of most attention among each customer's peers (none where nothing is declared)."""
        met = _membership(past, self.groups)
        met.data /= np.repeat(np.diff(met.indptr), np.diff(met.indptr))
        return strongest(met @ self.shares, keep)


def learn_peers(seen: Past, weight: Floats, popular: Floats, keep: int) -> Peers:
    """weight: (E,) of each event; popular: (V,) their sum by item"""
    groups = np.unique(seen.declared[seen.declared != ""]) if seen.declared.size else np.zeros(0, dtype=np.str_)
    share = PRIOR * popular / max(float(popular.sum()), 1e-12)
    top = np.argsort(-popular, kind="stable")[:keep]
    met = csr_matrix(_membership(seen, groups).T @ seen.matrix(len(popular), weight))
    total = np.asarray(met.sum(axis=1)).ravel()
    met.data = met.data + np.where(np.isin(met.indices, top), 0.0, share[met.indices])
    everywhere = np.zeros(len(popular))
    everywhere[top] = share[top]
    shared = csr_matrix(np.ones((len(groups), 1))) @ csr_matrix(everywhere[None, :])
    found = csr_matrix(diags(1 / (total + PRIOR)) @ (met + shared))
    return Peers(groups, strongest(found, 2 * keep))


def _membership(past: Past, groups: NDArray[np.str_]) -> csr_matrix:
    """(U, G) 1 where a customer belongs to a group."""
    if not len(groups) or not past.declared.size:
        return csr_matrix((len(past.users), len(groups)))
    at = np.minimum(np.searchsorted(groups, past.declared), len(groups) - 1)
    user, attribute = np.nonzero(groups[at] == past.declared)
    return csr_matrix((np.ones(len(user)), (user, at[user, attribute])), shape=(len(past.users), len(groups)))
