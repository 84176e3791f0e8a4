"""Floating-point operations of the pieces that networks are made of, from their shapes alone (pure).

Two operations for each multiplication with its addition; biases, norms, activations and sampling count nothing, as in
model FLOPs utilisation. Source: Chowdhery et al., PaLM (2022), appendix B; the tests hold them against what torch counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

TRAINING = 3
"""Forward passes that a training step is worth: backward forms a gradient for each of a product's two factors."""


def linear_flops(widths: Sequence[int], rows: int = 1) -> int:
    """Count a chain of linear layers of these widths over so many rows."""
    return sum(2 * rows * wide_in * wide_out for wide_in, wide_out in pairwise(widths))


def convolution_flops(wide_in: int, wide_out: int, kernel: int, pixels: int) -> int:
    """Count a square convolution that gives so many pixels."""
    return 2 * wide_in * wide_out * kernel * kernel * pixels


def attention_flops(queries: int, keys: int, width: int) -> int:
    """Count softmax(Q K') V over all heads, without projections; `width` is that of all heads together."""
    return 2 * 2 * queries * keys * width


def utilisation(flops_per_sample: int, samples_per_s: float, peak_flops_per_s: float) -> float:
    """Return model FLOPs utilisation of a training: useful operations over what the device could do.

    Args:
        flops_per_sample: Of a plan, forward alone.
        samples_per_s: Trained, all devices together.
        peak_flops_per_s: Of the devices together, at the type that is computed in.
    """
    return TRAINING * flops_per_sample * samples_per_s / peak_flops_per_s
