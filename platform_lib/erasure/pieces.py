"""Which pieces of what goes are looked for: of every sample those that tell it from all that stays.

Of a sample eight places are taken into account, and three of them are looked for. A piece that anything which stays holds,
at any offset, is not: it would be found for ever. Of the others those come first that only one sample that goes holds:
the background of a lidar scan and the padding of a message are the same in each.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from platform_lib.erasure.needles import SHORT_BYTES, WINDOW_BYTES, Digests, Needles, Sieve, digests

_FEWEST_KINDS = 12
"""Different bytes that 16 bytes of content need: fewer are padding, or a table that every image has."""
_PLACES = (0.35, 0.6, 0.85, 0.45, 0.52, 0.69, 0.77, 0.94)
"""Where pieces of a blob are taken: beyond the header, which other images share."""
_SMALLEST_BLOB = 256
_MOST_OF_A_BLOB = 3
_BASE64_BYTES, _BASE64_SHIFTS, _FEWEST_KINDS_OF_12 = 12, 3, 9
_CORE = slice(4, 12)
"""Part of a piece that its text as base64 shows too, wherever the groups begin: who lacks these bytes lacks all of it."""
_SCANNED_AT_ONCE_BYTES = 4 << 20
_EMPTY: npt.NDArray[np.uint64] = np.zeros((0, len(_PLACES), 2 + _BASE64_SHIFTS), np.uint64)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Pieces to look for.

    Attributes:
        shared: Pieces that were taken into account and that something which stays holds too.
        samples: Samples and frames that go.
        bare: Those of them of which no piece is looked for: too small, too uniform, or held elsewhere as a whole.
    """

    needles: Needles
    shared: int
    samples: int
    bare: int


@dataclass(slots=True)
class Pieces:
    """Pieces of every blob that goes, as digests: of the core, of the piece, and of its three texts as base64; 0: none."""

    _rows: list[npt.NDArray[np.uint64]] = field(default_factory=list)

    def add(self, blobs: Sequence[bytes]) -> None:
        """Take pieces of blobs that go."""
        if blobs:
            self._rows.append(_pieces(blobs))

    def among_staying(self) -> Staying:
        """Return what looks for them in all that stays."""
        return Staying(Sieve.of(np.unique(self._all()[..., 0]), SHORT_BYTES))

    def choose(self, shared: Digests) -> Chosen:
        """Choose pieces of each blob whose core is none of these."""
        rows = self._all()
        cores = rows[..., 0]
        known, inverse, counts = np.unique(cores, return_inverse=True, return_counts=True)
        taken = np.isin(known, shared)[inverse].reshape(cores.shape)
        rank = np.where((cores == 0) | taken, 2, (counts[inverse].reshape(cores.shape) > 1).astype(int))
        order = np.argsort(rank, axis=1, kind="stable")[:, :_MOST_OF_A_BLOB]
        ranked = np.take_along_axis(rows, order[..., None], axis=1)
        ranked[np.take_along_axis(rank, order, axis=1) == 2] = 0
        texts = ranked[..., 2:].any(axis=2).argmax(axis=1)  # as base64 one piece a blob
        found = np.concatenate([ranked[..., 1].ravel(), ranked[np.arange(len(rows)), texts, 2:].ravel()])
        none: Digests = np.zeros(0, np.uint64)
        needles = Needles(np.unique(found[found != 0]), none, none)
        return Chosen(needles, len(np.unique(cores[taken])), len(rows), int((ranked[..., 1] == 0).all(axis=1).sum()))

    def _all(self) -> npt.NDArray[np.uint64]:
        return np.concatenate([_EMPTY, *self._rows])


@dataclass(slots=True)
class Staying:
    """Looks through blobs that stay, and remembers which cores they hold."""

    _sieve: Sieve
    _found: list[Digests] = field(default_factory=list)

    def look(self, blobs: Sequence[bytes]) -> None:
        """Look at every offset of these blobs."""
        waiting: list[bytes] = []
        for blob in blobs:
            waiting.append(blob)
            if sum(map(len, waiting)) >= _SCANNED_AT_ONCE_BYTES:
                self._scan(waiting)
                waiting = []
        self._scan(waiting)

    @property
    def shared(self) -> Digests:
        """Cores that something which stays holds."""
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *self._found]))

    def _scan(self, blobs: Sequence[bytes]) -> None:
        found = self._sieve.found(b"".join(blobs))
        if len(found):
            self._found.append(found)


def content_needles(blobs: Sequence[bytes]) -> Needles:
    """Choose pieces of blobs that share nothing with anything else."""
    pieces = Pieces()
    pieces.add(blobs)
    return pieces.choose(np.zeros(0, np.uint64)).needles


def whole(blob: bytes) -> bytes:
    """Digest a blob as a whole."""
    return hashlib.blake2b(blob, digest_size=16).digest()


def _pieces(blobs: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    """Return digests, shape (blobs, places, core and piece and texts), uint64."""
    found = np.zeros((len(blobs), *_EMPTY.shape[1:]), np.uint64)
    places, pieces, text_places, texts = [], [], [], []
    for number, blob in enumerate(blobs):
        if len(blob) < _SMALLEST_BLOB:
            continue
        for slot, share in enumerate(_PLACES):
            at = min(int(len(blob) * share), len(blob) - WINDOW_BYTES)
            piece = blob[at : at + WINDOW_BYTES]
            if len(set(piece)) < _FEWEST_KINDS:
                continue
            places.append((number, slot))
            pieces.append(piece)
            for shift in range(_BASE64_SHIFTS):
                part = piece[shift : shift + _BASE64_BYTES]
                if len(set(part)) >= _FEWEST_KINDS_OF_12:
                    text_places.append((number, slot, 2 + shift))
                    texts.append(base64.b64encode(part))
    if places:
        numbers, slots = np.array(places).T
        found[numbers, slots, 0] = digests([piece[_CORE] for piece in pieces], SHORT_BYTES)
        found[numbers, slots, 1] = digests(pieces, WINDOW_BYTES)
    if texts:
        found[tuple(np.array(text_places).T)] = digests(texts, WINDOW_BYTES)
    return found
