"""Pictures of a LeRobot v3 dataset that lie in videos: which stretch of which file an episode is, and its frames as JPEG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy.typing as npt
import pyarrow as pa

from platform_lib.datasets.exchange.foreign_tables import Kind, column_of, numbers_of, read_tables
from platform_lib.datasets.exchange.parquet_source import path_below
from platform_lib.errors import ContractError, IntegrityError

_EPISODES, _INDEX = "meta/episodes", "episode_index"
_JPEG_QUALITY = 95
_PLACE: dict[str, Kind] = {
    "chunk_index": "a whole number",
    "file_index": "a whole number",
    "from_timestamp": "a number",
}


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode's stretch of a video: from its frame `first` on."""

    number: int
    video: Path
    first: int


@dataclass(frozen=True, slots=True)
class Episodes:
    """What ``meta/episodes`` says of one camera. Get it with `Episodes.read`."""

    folder: Path
    items: tuple[Episode, ...]

    @classmethod
    def read(cls, folder: Path, camera: str, *, fps: float, video_path: str | None) -> Episodes:
        """Read where every episode's pictures lie.

        Raises:
            MissingPartError: There is no such table.
            IntegrityError: It lacks a column, or names a file outside `folder`.
            ContractError: A column is of another type, or has gaps.
        """
        where = folder / _EPISODES
        table = read_tables(sorted(where.glob("*/*.parquet")), folder, what=f"{_EPISODES}/*/*.parquet")
        kinds = {_INDEX: _PLACE["chunk_index"], **{f"videos/{camera}/{name}": kind for name, kind in _PLACE.items()}}
        if missing := [name for name in kinds if name not in table.column_names]:
            raise IntegrityError(
                f"no column {missing[0]!r}, which says where an episode's pictures lie",
                where=where,
                remedy="fetch the dataset anew, or write it as LeRobot v3 does",
            )
        columns = [
            numbers_of(column_of(table, name, kind, where=where), name, where=where).tolist()
            for name, kind in kinds.items()
        ]
        items = []
        for number, chunk, file, from_s in sorted(zip(*columns, strict=True)):
            name = _named(video_path, folder, video_key=camera, chunk_index=chunk, file_index=file)
            if from_s < 0:
                raise ContractError(
                    f"episode {number} begins at {from_s} s", where=where, remedy="write it as LeRobot v3 does"
                )
            items.append(
                Episode(number, path_below(folder, name, where=folder / "meta/info.json"), round(from_s * fps))
            )
        return cls(folder, tuple(items))

    def drives(self, rows: pa.Table, episode: npt.NDArray[Any]) -> Iterator[pa.Table]:
        """Yield each drive's rows with their pictures; episodes with a `drive_id` in common are one.

        Args:
            rows: N rows with our column names.
            episode: (N,) whose they are.

        Raises:
            IntegrityError: An episode has no rows, or none of its rows' episodes is told of; a video cannot be decoded.
            ContractError: An episode is of two drives.
        """
        self._refuse_unlike(episode)
        of_drive: dict[object, list[tuple[Episode, pa.Table]]] = {}
        for item in self.items:
            own = rows.filter(pa.array(episode == item.number))
            drives = own["drive_id"].unique().to_pylist()
            if len(drives) != 1 or drives[0] is None:
                raise ContractError(
                    f"episode {item.number} is of the drives {', '.join(map(str, drives))}",
                    where=self.folder,
                    remedy="an episode is of one drive: split it",
                )
            of_drive.setdefault(drives[0], []).append((item, own))
        video = _Video()
        try:
            for parts in of_drive.values():
                yield pa.concat_tables(
                    own.append_column("image", [video.frames(item.video, item.first, len(own))]) for item, own in parts
                )
        finally:
            video.close()

    def _refuse_unlike(self, episode: npt.NDArray[Any]) -> None:
        told, there = [item.number for item in self.items], set(episode.tolist())
        if len(set(told)) == len(told) and set(told) == there:
            return
        strange = sorted(set(told) ^ there, key=str)
        what = f"episode {strange[0]} is in only one of both" if strange else "an episode is told of twice"
        raise IntegrityError(
            f"data/ and {_EPISODES} do not tell of the same episodes: {what}",
            where=self.folder,
            remedy="fetch the dataset whole",
        )


def _named(video_path: str | None, folder: Path, **numbers: object) -> str:
    where = folder / "meta/info.json"
    remedy = "LeRobot v3 has videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    if video_path is None:
        raise IntegrityError(
            "a camera's pictures are in videos, and there is no video_path", where=where, remedy=remedy
        )
    try:
        return video_path.format(**numbers)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"video_path {video_path!r} cannot be filled in: {error}", where=where, remedy=remedy
        ) from error


class _Video:
    """Reads stretches of videos; one that goes on in the same file is not decoded from its beginning."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._reader: cv2.VideoCapture | None = None
        self._at = 0

    def frames(self, path: Path, first: int, count: int) -> pa.Array:
        """Return `count` frames from `first` on, each encoded as JPEG.

        Raises:
            IntegrityError: There is no such file, or a frame of it cannot be decoded.
        """
        if not path.is_file():
            raise IntegrityError("no such video", where=path, remedy="fetch the dataset whole")
        if self._reader is None or path != self._path or first < self._at:
            self.close()
            self._reader, self._path, self._at = cv2.VideoCapture(str(path)), path, 0
        options: Sequence[int] = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        frames = []
        for number in range(self._at, first + count):
            there, picture = self._reader.read()
            if not there:
                raise IntegrityError(
                    f"frame {number} of {first + count} cannot be decoded",
                    where=path,
                    remedy="fetch it whole, or encode it as H.264",
                )
            if number >= first:
                frames.append(bytes(cv2.imencode(".jpg", picture, options)[1]))
        self._at = first + count
        return pa.array(frames, pa.large_binary())

    def close(self) -> None:
        """Let the file go."""
        if self._reader is not None:
            self._reader.release()
            self._reader = None
