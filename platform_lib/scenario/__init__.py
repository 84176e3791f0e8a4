"""The built-in simulator: small, deterministic synthetic drives with ground truth.

Frames: `world` is x east, y north on a flat plane; `ego` is x forward, y left, z up with its origin on the ground under
the rear axle. Road coordinates are `s` (arc length along the centre-line) and `d` (offset, left positive).
"""
