"""Where a sample was taken, as a geohash: cells of the globe that two splits must not share."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from platform_lib.datasets.model import BoolArray, FloatArray

GEOHASH_CHARACTERS = 7
"""Cells of 153 m from south to north, and 153 m times the cosine of the latitude from west to east."""

# Source: the geohash alphabet of G. Niemeyer (2008), base 32 without a, i, l and o.
_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"
_METRES_PER_DEGREE = 111_320.0
# 35 bits, longitude first: 18 for the longitude, 17 for the latitude.
_LONGITUDES, _LATITUDES = 1 << 18, 1 << 17


def known_positions(latitude_deg: FloatArray, longitude_deg: FloatArray) -> BoolArray:
    """Say which positions (N,) are positions: finite, on the globe, and not the (0, 0) of a receiver without a fix."""
    on_globe = (np.abs(latitude_deg) <= 90.0) & (np.abs(longitude_deg) <= 180.0)  # False where not finite
    return np.asarray(on_globe & ((latitude_deg != 0.0) | (longitude_deg != 0.0)))


def geohashes(latitude_deg: FloatArray, longitude_deg: FloatArray) -> tuple[str | None, ...]:
    """Return each position's cell, None where `known_positions` knows none."""
    known = known_positions(latitude_deg, longitude_deg)
    south = np.floor((np.where(known, latitude_deg, 0.0) + 90.0) / 180.0 * _LATITUDES).astype(np.int64)
    west = np.floor((np.where(known, longitude_deg, 0.0) + 180.0) / 360.0 * _LONGITUDES).astype(np.int64)
    rows = zip(south.clip(0, _LATITUDES - 1).tolist(), (west % _LONGITUDES).tolist(), known.tolist(), strict=True)
    return tuple(_text(lat, lon) if there else None for lat, lon, there in rows)


def is_cell(text: str) -> bool:
    """Say whether a text is a cell as `geohashes` gives them."""
    return len(text) == GEOHASH_CHARACTERS and set(text) <= set(_ALPHABET)


@lru_cache(maxsize=1 << 16)
def _text(south: int, west: int) -> str:
    bits = 0
    for place in range(17, -1, -1):  # longitude and latitude in turn, the longitude first and last
        bits = bits << 1 | (west >> place & 1)
        if place:
            bits = bits << 1 | (south >> (place - 1) & 1)
    return "".join(_ALPHABET[bits >> shift & 31] for shift in range(30, -1, -5))


@lru_cache(maxsize=1 << 16)
def neighbourhood(cell: str) -> tuple[str, ...]:
    """Return a cell and the cells around it: whatever is less than one cell away lies in them."""
    south, west = _indices(cell)
    rows = [row for row in (south - 1, south, south + 1) if 0 <= row < _LATITUDES]
    return tuple(_text(row, (west + step) % _LONGITUDES) for row in rows for step in (-1, 0, 1))


def _indices(cell: str) -> tuple[int, int]:
    bits = 0
    for letter in cell:
        bits = bits << 5 | _ALPHABET.index(letter)
    west = south = 0
    for place in range(17, -1, -1):
        west = west << 1 | (bits >> (2 * place) & 1)
        if place:
            south = south << 1 | (bits >> (2 * place - 1) & 1)
    return south, west


def reach_m(cells: Iterable[str]) -> float | None:
    """Return the distance in metres within which two samples are certain to be seen as one place; None without cells.

    It is the width of the narrowest of these cells, and at most their height: beyond one cell's neighbourhood there
    is always a whole cell between two samples.
    """
    height_m = 180.0 / _LATITUDES * _METRES_PER_DEGREE
    farthest_deg = max((abs((_indices(cell)[0] + 0.5) * 180.0 / _LATITUDES - 90.0) for cell in cells), default=math.nan)
    return None if math.isnan(farthest_deg) else round(height_m * math.cos(math.radians(farthest_deg)), 1)
