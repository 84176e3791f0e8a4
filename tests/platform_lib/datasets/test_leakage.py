"""Planted leaks: the same drive encoded again, the same place, the same trip; and splits that share none of it."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.datasets.fingerprints import alike, fingerprint, words_of
from platform_lib.datasets.leakage import (
    NEAR_DUPLICATE_BITS,
    Rows,
    find_links,
    place_drives,
    prove_near_duplicates,
    prove_places,
    prove_trips,
)
from platform_lib.datasets.places import geohashes, neighbourhood, reach_m
from platform_lib.datasets.splits import SplitUnit

T0_NS = 1_780_000_000_000_000_000
FRAMES = 6


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 24, 3), dtype=np.uint8)
    return cv2.resize(coarse, (384, 192), interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def rows(number: int, *, look: int | None = None, at: tuple[float, float] | None = None, day: int | None = None,
         vehicle: str = "v", quality: int = 90) -> Rows:  # fmt: skip
    """A drive that by default shares neither pictures, place nor day with one of another number."""
    latitude, longitude = at or (48.0 + 0.1 * number, 11.0)
    step = np.arange(FRAMES) * 1e-4
    pictures = [picture(1000 * (number if look is None else look) + frame) for frame in range(FRAMES)]
    start_ns = T0_NS + 86_400_000_000_000 * (number if day is None else day)
    return Rows(
        vehicle=vehicle,
        timestamp_ns=start_ns + np.arange(FRAMES) * 200_000_000,
        cells=geohashes(latitude + step, np.full(FRAMES, longitude)),
        prints=tuple(fingerprint(jpeg(image, quality)) for image in pictures),
    )


def fleet(count: int, **changed: Rows) -> dict[str, Rows]:
    return {f"d{number}": rows(number) for number in range(count)} | changed


def units(of: Mapping[str, Rows]) -> list[SplitUnit]:
    return [SplitUnit(name, frozenset(), frozenset({name})) for name in of]


def shared(of: Mapping[str, Rows], split: Mapping[str, object]) -> dict[str, int]:
    proofs = (prove_near_duplicates, prove_places, prove_trips)
    found = [prove(of, split, left_out=0) for prove in proofs]  # type: ignore[operator]  # three of one shape
    return {
        "near_duplicate": sum(found[0].across.values()),
        "place": sum(found[1].shared.values()),
        "trip": sum(found[2].shared.values()),
    }


LEAKS = {
    "near_duplicate": rows(9, look=2, quality=40),
    "place": rows(9, at=(48.2 + 3e-4, 11.0)),
    "trip": rows(9, day=2),
}


@pytest.mark.parametrize("reason", LEAKS)
@pytest.mark.parametrize("seed", range(4))
def test_a_planted_leak_is_linked_and_kept_in_one_split(reason: str, seed: int) -> None:
    of = fleet(8, copy=LEAKS[reason])
    assert [(link.drives, link.reason) for link in find_links(of)] == [(("copy", "d2"), reason)]
    placed = place_drives(units(of), of, seed=seed)
    assert placed.split["copy"] == placed.split["d2"]
    assert placed.groups == (("copy", "d2"),)
    assert all(kept.all() for kept in placed.kept.values())
    assert shared(of, placed.split) == {"near_duplicate": 0, "place": 0, "trip": 0}


@pytest.mark.parametrize("reason", LEAKS)
def test_the_proof_counts_a_leak_that_is_there(reason: str) -> None:
    of = fleet(8, copy=LEAKS[reason])
    split = {name: "train" for name in of} | {"d2": "test", "d5": "val"}
    found = shared(of, split)
    assert found.pop(reason) > 0
    assert set(found.values()) == {0}
    assert set(shared(fleet(8), split).values()) == {0}


def test_drives_that_share_nothing_are_not_linked() -> None:
    assert find_links(fleet(8)) == ()


def test_a_fleet_from_one_depot_is_split_and_what_is_shared_left_out() -> None:
    depot = (50.0, 8.0)
    of = {}
    for number in range(8):
        away = rows(number)
        cells = (*geohashes(np.full(2, depot[0]), np.full(2, depot[1])), *away.cells[2:])
        of[f"d{number}"] = Rows(away.vehicle, away.timestamp_ns, cells, away.prints)
    placed = place_drives(units(of), of, seed=1)
    assert set(placed.split.values()) == {"train", "val", "test"}
    for name, where in placed.split.items():
        assert placed.kept[name].tolist() == [where == "test"] * 2 + [True] * 4
    kept = {
        name: Rows(
            own.vehicle,
            own.timestamp_ns[placed.kept[name]],
            tuple(cell for cell, stays in zip(own.cells, placed.kept[name], strict=True) if stays),
            tuple(one for one, stays in zip(own.prints, placed.kept[name], strict=True) if stays),
        )
        for name, own in of.items()
    }
    assert shared(kept, placed.split)["place"] == 0
    assert sum(found["place"] for found in placed.left_out.values()) == 2 * sum(
        s != "test" for s in placed.split.values()
    )


def test_unknown_is_not_linked_and_counted() -> None:
    nothing = Rows(None, np.arange(3) + T0_NS, (None,) * 3, (None,) * 3)
    of = fleet(4, dark=nothing, darker=nothing)
    assert find_links(of) == ()
    split = {"d0": "train", "d1": "val", "d2": "test", "d3": "train", "dark": "train", "darker": "test"}
    assert prove_places(of, split, left_out=0).unpositioned == {"train": 3, "val": 0, "test": 3}  # type: ignore[arg-type]  # literals
    assert prove_trips(of, split, left_out=0).unnamed == ("dark", "darker")  # type: ignore[arg-type]  # literals
    assert prove_near_duplicates(of, split, left_out=0).featureless == {"train": 3, "val": 0, "test": 3}  # type: ignore[arg-type]  # literals


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), flips=st.integers(0, 20))
def test_the_search_finds_exactly_what_lies_within_its_radius(seed: int, flips: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (40, 256), dtype=np.uint8)
    bits[39] = bits[0]
    bits[39, rng.choice(256, flips, replace=False)] ^= 1
    words, _ = words_of(row.tobytes() for row in np.packbits(bits, axis=1))
    found = alike(words, np.arange(40), max_bits=NEAR_DUPLICATE_BITS)
    expected = [(0, 39, flips)] if flips <= NEAR_DUPLICATE_BITS else []
    assert list(zip(found.one.tolist(), found.other.tolist(), found.bits.tolist(), strict=True)) == expected
    assert len(alike(words, np.zeros(40, dtype=np.int64), max_bits=NEAR_DUPLICATE_BITS).one) == 0


@pytest.mark.parametrize("change", ["quality", "size", "brightness"])
def test_a_picture_encoded_again_keeps_its_fingerprint(change: str) -> None:
    image = picture(5)
    again = {
        "quality": jpeg(image, 30),
        "size": jpeg(cv2.resize(image, (192, 96), interpolation=cv2.INTER_AREA)),
        "brightness": jpeg(cv2.convertScaleAbs(image, alpha=0.9, beta=5)),
    }[change]
    words, _ = words_of([fingerprint(jpeg(image)), fingerprint(again)])
    assert int(np.bitwise_count(words[0] ^ words[1]).sum()) <= NEAR_DUPLICATE_BITS
    assert fingerprint(jpeg(np.full((64, 96, 3), 7, np.uint8))) is None
    assert fingerprint(b"") is None


def test_geohashes_are_the_ones_everybody_writes() -> None:
    # Source: the examples of the "Geohash" article of Wikipedia, 2026-11-20, cut to seven characters.
    assert geohashes(np.array([57.64911, 42.6]), np.array([10.40744, -5.6])) == ("u4pruyd", "ezs42e4")
    assert geohashes(np.array([0.0, np.nan, 95.0]), np.array([0.0, 1.0, 1.0])) == (None, None, None)


@settings(max_examples=100, deadline=None)
@given(st.floats(-80, 80), st.floats(-180, 179.99), st.floats(0, 2 * np.pi))
def test_what_is_within_reach_lies_in_the_neighbourhood(latitude: float, longitude: float, bearing: float) -> None:
    here = geohashes(np.array([latitude]), np.array([longitude]))[0]
    if here is None:
        return
    reach = reach_m([here])
    assert reach is not None
    metres = 0.98 * reach
    north, east = (
        metres * np.cos(bearing) / 111_320,
        metres * np.sin(bearing) / (111_320 * np.cos(np.radians(latitude))),
    )
    there = geohashes(np.array([latitude + north]), np.array([(longitude + east + 180) % 360 - 180]))[0]
    assert there in neighbourhood(here)
