"""Where item vectors begin: near those of items that are taken together, so that training need not find that out step by step."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, diags

from huaxiang.models.behaviour.source import Source
from huaxiang.models.next_item.neighbours import count_pairs
from huaxiang.models.next_item.sequences import Floats

EVENTS = 1_000_000  # events whose pairs are counted, about
PAIRS = 10_000_000  # pairs counted at most, about: fewer apart where there are many events
WINDOW = 50
FADE = 0.85
NOISE = 0.3
BESIDE = 10  # vectors looked for beside those wanted


def pair_vectors(source: Source, items: int, width: int, *, seed: int) -> Floats:
    """(V, width) about of norm 1: the singular vectors of d^−½ P d^−½, times the root of their singular values, with noise.

    P counts pairs of items of one customer, fading with how far apart they are; d are its sums. Items without a pair get noise alone.
    source: Levy & Goldberg 2014 (symmetric SVD, eq. 9, √Σ), found as Halko, Martinsson & Tropp 2011, alg. 4.4 and 5.3 do; differs: the normalised counts instead of pointwise information,
    which did better on validation (bench/log.md)
    """
    pairs, seen = csr_matrix((items, items)), 0
    window = int(np.clip(PAIRS // max(min(source.events, EVENTS), 1), 3, WINDOW))
    for number in range(source.pieces):
        piece = source.piece(number)
        if seen + len(piece.item) > EVENTS:
            piece = piece.take(np.flatnonzero(np.cumsum(piece.lengths) <= EVENTS - seen))
        if not len(piece.item):
            break
        pairs = pairs + count_pairs(piece, items, window=window, fade=FADE)
        seen += len(piece.item)
    noise = np.random.default_rng(seed).standard_normal((items, width))
    noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    return _spectrum(csr_matrix(pairs + pairs.T), width, seed) + noise


def _spectrum(pairs: csr_matrix, width: int, seed: int) -> Floats:
    """(V, width) rows of norm 1, or 0; columns of zeros where there are fewer singular vectors."""
    from sklearn.utils.extmath import randomized_range_finder

    found = np.zeros((pairs.shape[0], width))
    count = min(width, pairs.shape[0] - 1)
    if count < 1 or not pairs.nnz:
        return found
    scale = diags(np.maximum(np.asarray(pairs.sum(axis=1)).ravel(), 1e-9) ** -0.5)
    even = csr_matrix(scale @ pairs @ scale, dtype=np.float32)
    size = min(count + BESIDE, pairs.shape[0])
    basis = randomized_range_finder(
        even, size=size, n_iter=3, power_iteration_normalizer="QR", random_state=seed % 2**32
    )
    small = basis.T @ (even @ basis)
    strength, turned = np.linalg.eigh((small + small.T).astype(float) / 2)
    strongest = np.argsort(-np.abs(strength))[:count]
    found[:, :count] = basis @ turned[:, strongest] * np.sqrt(np.abs(strength[strongest]))
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    return np.where(norm > 1e-6, found / np.maximum(norm, 1e-9), 0.0)
