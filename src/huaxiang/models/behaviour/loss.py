"""The softmax over items: over all of them, in pieces that stay in the processor's cache, or over a sample.

The full one makes its gradient on the way:

    loss = −Σ_n Σ_v q(n, v) log p(n, v) / N,   p(n, v) = exp(x_n·w_v) / Σ_u exp(x_n·w_u)

with q 1 − s at the target and s / V everywhere (s: label smoothing). d loss / d x_n = (Σ_v p(n, v) w_v − Σ_v q(n, v) w_v) / N, and
d loss / d w_v = Σ_n (p(n, v) − q(n, v)) x_n / N. The (N, V) logits are never held at once, nor read more than once after exp.
source: Goodfellow, Bengio, Courville 2016, Deep Learning, §6.2.2.3; label smoothing: Szegedy et al. 2016, §7
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

PIECE = 128  # rows at once: 128 × 12,000 logits are 6 MB
PIECE_GPU = 4096  # a GPU has no such cache to stay in, and would wait for many small pieces


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, target: Tensor, smoothing: float) -> Tensor:
        count, size = len(x), len(w)
        dx, dw = torch.empty_like(x), torch.zeros_like(w)
        piece = PIECE if x.device.type == "cpu" else PIECE_GPU
        held = torch.empty(min(piece, count), size, dtype=x.dtype, device=x.device)
        mean = w.mean(dim=0)
        total = x.new_zeros(())
        for low in range(0, count, piece):
            part, wanted = x[low : low + piece], target[low : low + piece]
            z = torch.mm(part, w.T, out=held[: len(part)])
            most = z.amax(dim=1, keepdim=True)
            own = z.gather(1, wanted[:, None])
            whole = z.sub_(most).exp_().sum(dim=1, keepdim=True)
            aim = (1 - smoothing) * own + smoothing * (part @ mean)[:, None]
            total += (whole.log() + most - aim).sum()
            dx[low : low + piece] = torch.mm(z, w) / whole - (1 - smoothing) * w[wanted] - smoothing * mean
            dw.addmm_(z.T, part / whole)
            dw.index_add_(0, wanted, part, alpha=smoothing - 1)
        if smoothing:
            dw -= smoothing / size * x.sum(dim=0)
        ctx.save_for_backward(dx / count, dw / count)
        return total / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dx, dw = ctx.saved_tensors
        return dx * grads[0], dw * grads[0], None, None


def full_softmax(x: Tensor, w: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of `target` (N,) under the softmax of x wᵀ; x: (N, D), w: (V, D)."""
    found: Tensor = _FullSoftmax.apply(x, w, target, smoothing)
    return found


def sampled_softmax(
    x: Tensor, w: Tensor, target: Tensor, negatives: Tensor, log_q: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of `target` (N,) against `negatives` (K,) shared by all rows; x: (N, D), w: (V, D).

    log_q: (V,) logarithm of how many times an item is expected among the negatives; it is taken off each logit, so that what is
    often drawn is not punished for it. A negative that is the row's own target does not count.
    source: Bengio & Senécal 2008, eq. 8; Yi et al. 2019 (Sampling-bias-corrected neural modeling), eq. 3
    """
    own = (x * w[target]).sum(dim=1, keepdim=True) - log_q[target][:, None]
    other = x @ w[negatives].T - log_q[negatives]
    hit = negatives == target[:, None]
    said = F.log_softmax(torch.cat([own, other.masked_fill(hit, -torch.inf)], dim=1), dim=1)
    loss = F.nll_loss(said, torch.zeros(len(x), dtype=torch.long, device=x.device))
    if smoothing:
        counted = F.pad(~hit, (1, 0), value=True)
        even = -torch.where(counted, said, 0.0).sum(dim=1) / counted.sum(dim=1)
        loss = (1 - smoothing) * loss + smoothing * even.mean()
    return loss
