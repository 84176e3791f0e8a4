"""Named arrays in files, handed from one process to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_compile.samples import Samples

# A tensor may be called `file` or `allow_pickle`, which numpy.savez takes for itself.
_PREFIX = "tensor:"
# Beside a compile: what the emulator answered to the first frozen inputs; a board is compared with it.
TARGET_OUTPUTS = ".target.npz"


def save_arrays(path: Path, arrays: Samples) -> None:
    """Write named arrays as ``.npz``."""
    named = {_PREFIX + name: array for name, array in arrays.items()}
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **named)


def load_arrays(path: Path) -> Samples:
    """Read what `save_arrays` wrote, unpickling nothing."""
    with np.load(path, allow_pickle=False) as stored:
        return {name.removeprefix(_PREFIX): stored[name] for name in stored.files}
