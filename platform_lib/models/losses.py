"""What training makes small: distance of paths, cross entropy of tokens, occupancy of the ground."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BEND = 0.1
"""Where the path's loss turns from squares to straight lines, in standard deviations of a waypoint."""


def path_loss(plan_m: Tensor, future_m: Tensor, scale_m: Tensor) -> Tensor:
    """Return the Huber loss between two paths (N, 6, 2).

    In units of each waypoint's spread (6, 2), so that sideways centimetres count beside metres ahead.
    """
    return nn.functional.smooth_l1_loss(plan_m / scale_m, future_m / scale_m, beta=_BEND)


def bin_loss(logits: Tensor, bins: Tensor, *, first: int, count: int, spread_bins: float) -> Tensor:
    """Return the cross entropy of tokens that stand for bins on a line, whose neighbours are nearly right.

    Args:
        logits: (N, K, V) over the whole vocabulary: what is no bin has to be unlearnt too.
        bins: (N, K) the right bins, 0 ... count - 1.
        first: The vocabulary's index of bin 0.
        count: How many bins there are.
        spread_bins: Standard deviation of the target around the right bin; 0 demands that one alone.
    """
    logs = nn.functional.log_softmax(logits, dim=-1)[..., first : first + count]
    if spread_bins <= 0:
        return -logs.gather(-1, bins[..., None]).mean()
    distance = torch.arange(count, device=bins.device) - bins[..., None]
    target = torch.softmax(-0.5 * (distance / spread_bins) ** 2, dim=-1)
    return -(target * logs).sum(dim=-1).mean()


def text_loss(logits: Tensor, tokens: Tensor, *, ignored: int) -> Tensor:
    """Return the cross entropy of words (N, R) under logits (N, R, V); the padding counts nothing."""
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten(), ignore_index=ignored)


def occupancy_loss(logits: Tensor, taken: Tensor, known: Tensor, *, rare: float) -> Tensor:
    """Return the binary cross entropy of cells being taken.

    Args:
        logits: (N, T, X, Y).
        taken: The same, 0 or 1.
        known: (N,) samples whose agents somebody recorded; the others teach nothing.
        rare: Weight of a taken cell: few are.
    """
    each = nn.functional.binary_cross_entropy_with_logits(
        logits, taken, pos_weight=logits.new_tensor(rare), reduction="none"
    ).mean(dim=(1, 2, 3))
    weight = known.to(each.dtype)
    return (each * weight).sum() / weight.sum().clamp(min=1.0)
