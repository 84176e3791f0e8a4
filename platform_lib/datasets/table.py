"""The columns of a dataset: one row a sample, as Arrow, and back as arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.datasets.fingerprints import BITS, fingerprint
from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS, AdmittedPii, DriveSamples, FutureObjects
from platform_lib.errors import ContractError

OBJECT = pa.struct(
    [
        pa.field("step", pa.int8()),
        pa.field("kind", pa.string()),
        pa.field("x", pa.float32()),
        pa.field("y", pa.float32()),
        pa.field("yaw", pa.float32()),
        pa.field("length", pa.float32()),
        pa.field("width", pa.float32()),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("drive_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("timestamp_ns", pa.int64(), nullable=False),
        pa.field("image", pa.large_binary(), nullable=False),
        pa.field("ego_history", pa.list_(pa.float32(), HISTORY_STEPS * 3), nullable=False),
        pa.field("command", pa.int8(), nullable=False),
        pa.field("future", pa.list_(pa.float32(), FUTURE_STEPS * 2), nullable=False),
        pa.field("slices", pa.list_(pa.string()), nullable=False),
        # Null: nobody recorded other agents, which is not the same as none being there.
        pa.field("objects", pa.list_(OBJECT)),
        pa.field("ego_yaw_future", pa.list_(pa.float32(), FUTURE_STEPS), nullable=False),
        pa.field("speed_mps", pa.float32(), nullable=False),
        pa.field("pii_state", pa.string(), nullable=False),
        pa.field("geohash", pa.string()),
        pa.field("phash", pa.binary(BITS // 8)),
    ]
)
_BOX_COLUMNS = ("x", "y", "yaw", "length", "width")


@dataclass(frozen=True, slots=True)
class SplitArrays:
    """One split, decoded; N samples in the dataset's row order (by drive, then by time).

    Attributes:
        sample_id: N ids, unique in the dataset.
        drive_id: N ids: the unit that confidence intervals resample.
        timestamp_ns: int64 (N,), the camera recorder's clock.
        images: uint8 (N, 64, 192, 3), RGB.
        ego_history: float32 (N, 10, 3), oldest first and the frame's time last, 0.1 s apart: v_mps, yaw_rate_rps,
            accel_mps2.
        command: int64 (N,): 0 lane_follow, 1 change_lane_left, 2 change_lane_right.
        future: float32 (N, 6, 2), metres in the ego frame at 0.5 ... 3.0 s.
        ego_yaw_future: float32 (N, 6), radians in the ego frame.
        speed_mps: float32 (N,).
        slices: N tuples: the weather, then what happens in the frame.
        objects: N sets of other agents at the future times; None where nobody recorded them.
    """

    sample_id: tuple[str, ...]
    drive_id: tuple[str, ...]
    timestamp_ns: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    ego_history: npt.NDArray[np.float32]
    command: npt.NDArray[np.int64]
    future: npt.NDArray[np.float32]
    ego_yaw_future: npt.NDArray[np.float32]
    speed_mps: npt.NDArray[np.float32]
    slices: tuple[tuple[str, ...], ...]
    objects: tuple[FutureObjects | None, ...]

    def __len__(self) -> int:
        return len(self.sample_id)


def samples_table(samples: DriveSamples, images: pa.ChunkedArray) -> pa.Table:
    """Return one drive's samples (N rows) without their split, which is decided when all drives are known.

    Args:
        samples: The drive's samples.
        images: The JPEG bytes of all its camera frames; the samples' are taken.
    """
    chosen = images.take(pa.array(samples.frame, pa.int64())).cast(pa.large_binary()).combine_chunks()
    ids = [f"{samples.drive_id}/{int(time_ns)}" for time_ns in samples.timestamp_ns]
    columns = {
        "sample_id": pa.array(ids, pa.string()),
        "drive_id": pa.array([samples.drive_id] * len(ids), pa.string()),
        "timestamp_ns": pa.array(samples.timestamp_ns, pa.int64()),
        "image": chosen,
        "ego_history": _fixed(samples.ego_history, HISTORY_STEPS * 3),
        "command": pa.array(samples.command, pa.int8()),
        "future": _fixed(samples.future, FUTURE_STEPS * 2),
        "slices": pa.array([list(names) for names in samples.slices], pa.list_(pa.string())),
        "objects": _objects(samples.objects),
        "ego_yaw_future": _fixed(samples.ego_yaw_future, FUTURE_STEPS),
        "speed_mps": pa.array(samples.speed_mps, pa.float32()),
        "pii_state": pa.array([str(state) for state in samples.pii_state], pa.string()),
        "geohash": pa.array(samples.geohash, pa.string()),
        "phash": pa.array([fingerprint(item.as_buffer().to_pybytes()) for item in chosen], SCHEMA.field("phash").type),
    }
    schema = pa.schema([field for field in SCHEMA if field.name != "split"])
    return pa.table([columns[field.name] for field in schema], schema=schema)


def with_split(table: pa.Table, split: str) -> pa.Table:
    """Add the split column; the last place before anything is written, so it is also where rows are checked.

    Raises:
        ContractError: A row's state of personal data is not admitted, or a number is not finite.
    """
    states = set(table.column("pii_state").unique().to_pylist())
    if not states <= set(AdmittedPii):
        refused = sorted(states - set(AdmittedPii))
        raise ContractError(
            f"personal data is {', '.join(map(repr, refused))} in rows about to be written",
            where=table.column("drive_id")[0].as_py(),
            remedy="blur the frames, and record that they are",
        )
    for name in ("ego_history", "future", "ego_yaw_future"):
        if not np.isfinite(fixed_array(table, name)).all():
            raise ContractError(f"{name} holds numbers that are not finite", where=table.column("drive_id")[0].as_py())
    place = SCHEMA.get_field_index("split")
    return table.add_column(place, SCHEMA.field(place), pa.array([split] * len(table), pa.string())).cast(SCHEMA)


def fixed_array(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    """Return a fixed-size-list column as float32 (N, width)."""
    column = table.column(name).combine_chunks()
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    width = column.type.list_size
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, width)


def objects_of(table: pa.Table) -> tuple[FutureObjects | None, ...]:
    """Return each row's objects, None where nobody recorded them."""
    column = table.column("objects").combine_chunks()
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    offsets = column.offsets.to_numpy()
    flat = column.values
    step = flat.field("step").to_numpy(zero_copy_only=False)
    kind = flat.field("kind").to_pylist()
    box = np.column_stack([flat.field(name).to_numpy(zero_copy_only=False) for name in _BOX_COLUMNS])
    known = column.is_valid().to_pylist()
    return tuple(
        FutureObjects(step[low:high].astype(np.int8), tuple(kind[low:high]), box[low:high].astype(np.float32))
        if valid
        else None
        for valid, (low, high) in zip(known, pairwise(offsets.tolist()), strict=True)
    )


def rows_sha256(table: pa.Table) -> str:
    """Digest the rows' content, however they are chunked or stored."""
    digest = hashlib.sha256(str(table.schema).encode())
    whole = table.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    digest.update(sink.getvalue())
    return digest.hexdigest()


def image_digests(images: pa.ChunkedArray) -> list[str]:
    """Return the sha256 of each image's bytes."""
    return [hashlib.sha256(item.as_buffer()).hexdigest() for chunk in images.chunks for item in chunk]


def _fixed(values: npt.NDArray[np.float32], width: int) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, width)


def _objects(objects: tuple[FutureObjects | None, ...]) -> pa.ListArray:
    known = [item for item in objects if item is not None]
    offsets = np.concatenate([[0], np.cumsum([0 if item is None else len(item.kind) for item in objects])])
    step = np.concatenate([np.zeros(0, np.int8), *(item.step for item in known)])
    box = np.concatenate([np.zeros((0, 5), np.float32), *(item.box for item in known)])
    kinds = [name for item in known for name in item.kind]
    children = [pa.array(step, pa.int8()), pa.array(kinds, pa.string())]
    children += [pa.array(np.ascontiguousarray(box[:, place]), pa.float32()) for place in range(5)]
    flat = pa.StructArray.from_arrays(children, fields=list(OBJECT))
    unknown = pa.array([item is None for item in objects])
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), flat, mask=unknown)
