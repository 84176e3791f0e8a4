"""The files that are measured: where they are kept, and which there are. Made once, from seeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import ConfigError
from platform_lib.home import open_home

FULL_MB = 437
"""Raw megabytes of the MDF files at full size; the other files are sized in proportion."""

_VERSION = "v2"


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder of one size.

    Attributes:
        folder: Holds every file of that size.
        scale: Share of the full size, 1 for a measurement that counts.
    """

    folder: Path
    scale: float

    @classmethod
    def of(cls, environment: dict[str, str]) -> Cache:
        """Take the place from ``DRIVETRAIN_BENCH``, else the home; the size from ``DRIVETRAIN_BENCH_MB``."""
        size = environment.get("DRIVETRAIN_BENCH_MB") or str(FULL_MB)
        if not size.isdecimal() or int(size) < 1:
            raise ConfigError(f"DRIVETRAIN_BENCH_MB is {size!r}", remedy="give whole megabytes, 1 or more")
        size_mb = int(size)
        named = environment.get("DRIVETRAIN_BENCH")
        place = Path(named).absolute() if named else open_home().root / "bench"
        return cls(place / f"{_VERSION}-{size_mb}mb", size_mb / FULL_MB)

    def need(self, name: str) -> Path:
        """Return a file's path; make it first where it is missing."""
        path = self.folder / name
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"unfinished-{os.getpid()}-{name}")
            _maker(name)(unfinished, self.scale)
            unfinished.replace(path)
        return path


def _maker(name: str) -> Callable[[Path, float], None]:
    from tests.bench import as_of_sides, mcap_files, mdf_files, sample_sides

    makers: dict[str, Callable[[Path, float], None]] = {
        "plain.mf4": mdf_files.write_plain,
        "dz.mf4": mdf_files.write_deflated,
        "transposed.mf4": mdf_files.write_transposed,
        "bus.dbc": mdf_files.write_database,
        "zstd.mcap": mcap_files.write_zstd,
        "lz4.mcap": mcap_files.write_lz4,
        "twenty.mcap": mcap_files.write_twenty_topics,
        "states.arrow": as_of_sides.write_states,
        "samples": sample_sides.write_samples,
    }
    return makers[name]
