"""What is measured: each work, its sides, and the ratio that is asked of us."""

from __future__ import annotations

from dataclasses import dataclass

_MDF = "tests.bench.mdf_sides"
_MCAP = "tests.bench.mcap_sides"
_LAKE = "tests.bench.lake_sides"
_AS_OF = "tests.bench.as_of_sides"
_SAMPLES = "tests.bench.sample_sides"

STORE_KEY = "s3-one-of-twenty"
"""The line that counts bytes; see `object_store`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What we are compared with.

    Attributes:
        name: Shown in the table.
        factory: ``module:function`` that makes the side.
        ratio: How many times our time has to fit into the peer's.
    """

    name: str
    factory: str
    ratio: float


@dataclass(frozen=True, slots=True)
class Work:
    """One thing that is done by every side.

    Attributes:
        key: Chooses it on the command line.
        name: Shown in the table.
        log: The file, by its name in the cache.
        ours: Our side's factory.
        peers: The others.
        floor: The factory of the floor.
        threads: 1: CPU seconds count. More: wall time counts, on so many cores.
        topics: See `Task`.
        database: The bus database, by its name in the cache.
    """

    key: str
    name: str
    log: str
    ours: str
    peers: tuple[Peer, ...]
    floor: str
    threads: int = 1
    topics: tuple[str, ...] = ()
    database: str | None = None


def _mdf(key: str, name: str, log: str, ratio: float, threads: int = 1) -> Work:
    peer = Peer("asammdf select", f"{_MDF}:asammdf", ratio)
    return Work(key, name, log, f"{_MDF}:ours", (peer,), f"{_MDF}:floor", threads)


def _mcap(key: str, name: str, log: str, checked: float, unchecked: float) -> Work:
    peers = (
        Peer("mcap, CRC checked", f"{_MCAP}:mcap", checked),
        Peer("small-mcap, no CRC", f"{_MCAP}:small_mcap", unchecked),
    )
    return Work(key, name, log, f"{_MCAP}:ours", peers, f"{_MCAP}:floor")


def _columns(key: str, name: str, log: str, ratio: float, topics: tuple[str, ...]) -> Work:
    peer = Peer("mcap-ros2-support", f"{_MCAP}:ros2_support", ratio)
    return Work(key, name, log, f"{_MCAP}:ours_columns", (peer,), f"{_MCAP}:floor", topics=topics)


def _as_of(key: str, name: str, *topics: str) -> Work:
    # Within 1.5 times the peer's time.
    peer = Peer("polars join_asof", f"{_AS_OF}:polars", 0.67)
    return Work(key, name, "states.arrow", f"{_AS_OF}:ours", (peer,), f"{_AS_OF}:floor", topics=topics)


WORKS = (
    _mdf("mdf4-dz", "MDF4 DZ -> Arrow", "dz.mf4", 3),
    _mdf("mdf4-dz-2", "MDF4 DZ -> Arrow, two threads", "dz.mf4", 5, threads=2),
    _mdf("mdf4-transposed", "MDF4 transposed DZ -> Arrow", "transposed.mf4", 4),
    _mdf("mdf4-transposed-2", "MDF4 transposed DZ -> Arrow, two threads", "transposed.mf4", 6, threads=2),
    Work(
        key="mdf4-lake",
        name="MDF4 DZ -> lake table, two cores",
        log="dz.mf4",
        ours=f"{_LAKE}:ours",
        peers=(Peer("asammdf select -> Parquet zstd-1", f"{_LAKE}:asammdf", 3),),
        floor=f"{_MDF}:floor",
        threads=2,
        topics=("signals",),
    ),
    Work(
        key="bus",
        name="CAN bus decode",
        log="plain.mf4",
        ours=f"{_MDF}:ours_bus",
        peers=(Peer("asammdf extract_bus_logging", f"{_MDF}:asammdf_bus", 5),),
        floor=f"{_MDF}:floor",
        topics=("can",),
        database="bus.dbc",
    ),
    _mcap("mcap-zstd", "MCAP zstd -> Arrow", "zstd.mcap", 2.3, 1.1),
    _mcap("mcap-lz4", "MCAP lz4 -> Arrow", "lz4.mcap", 3.5, 1.3),
    _columns("cdr-fixed", "CDR Imu, Odometry -> columns, zstd", "zstd.mcap", 4, ("/imu", "/odom")),
    _columns("cdr-fixed-lz4", "CDR Imu, Odometry -> columns, lz4", "lz4.mcap", 4, ("/imu", "/odom")),
    _columns("cdr-variable", "CDR PointCloud2, CompressedImage headers, zstd", "zstd.mcap", 3, ("/lidar", "/camera_0")),
    _columns(
        "cdr-variable-lz4", "CDR PointCloud2, CompressedImage headers, lz4", "lz4.mcap", 3, ("/lidar", "/camera_0")
    ),
    _as_of("as-of", "as-of join, 10 M x 1 M rows"),
    _as_of("as-of-tolerance", "as-of join within a tolerance", "tolerance"),
    _as_of("as-of-key", "as-of join by key, within a tolerance", "tolerance", "key"),
    Work(
        key="loader",
        name="shuffled samples for training",
        log="samples",
        ours=f"{_SAMPLES}:ours",
        peers=(
            Peer("Parquet, one row group a sample", f"{_SAMPLES}:parquet", 5),
            Peer("Lance, scanned in order", f"{_SAMPLES}:scan", 0.75),
        ),
        floor=f"{_SAMPLES}:floor",
    ),
)
