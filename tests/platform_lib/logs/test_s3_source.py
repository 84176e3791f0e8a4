from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from mcap_layouts import all_rows, expected_rows, write_layout
from s3_objects import BUCKET, put

from platform_lib.errors import ConfigError, CorruptLog, IntegrityError
from platform_lib.logs import open_log
from platform_lib.logs.bytes_source import open_source
from platform_lib.logs.door import Log
from platform_lib.logs.mcap.source import open_mcap
from platform_lib.logs.s3_source import S3Source

pytestmark = pytest.mark.slow  # a server, and an AWS client per test
REAL = Path(__file__).resolve().parents[4] / "shared/data/logs"


@pytest.mark.parametrize("layout", ["lz4", "no chunks", "no summary"])
def test_an_object_reads_as_the_file(bucket: Any, tmp_path: Path, layout: str) -> None:
    path = write_layout(tmp_path / "log.mcap", layout)
    address = put(bucket, "log.mcap", path.read_bytes())
    for form in (address, Path(address)):  # a path folds the slashes
        with open_log(form) as log:
            assert all_rows(log) == expected_rows(path)
            assert log.attachments[0].load() == b"{}" * 30
            assert log.metadata["vehicle"] == "v"


def test_chunks_without_a_checksum_are_noted_when_they_are_read(bucket: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.mcap"
    data = bytearray(write_layout(path, "lz4").read_bytes())
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    at = summary.chunk_indexes[0].chunk_start_offset + 33
    data[at : at + 4] = bytes(4)
    with open_log(put(bucket, "unchecked.mcap", bytes(data))) as log:
        assert log.report.unverified == ["metadata records have no checksum"]
        all_rows(log)
        assert log.report.unverified[1:] == ["some of the chunks that were read have no checksum"]


def test_an_mdf_object_reads_as_the_file(bucket: Any) -> None:
    path = REAL / "mdf4/test_batch.mf4"
    if not path.is_file():
        pytest.skip(f"no real logs at {REAL}")
    with open_log(put(bucket, "a.mf4", path.read_bytes())) as log, open_log(path) as local:
        assert log.streams == local.streams
        for stream in local.streams:
            assert list(log.read(stream.name)) == list(local.read(stream.name))


def test_one_topic_of_twenty_costs_its_own_chunks(bucket: Any, tmp_path: Path) -> None:
    path = tmp_path / "twenty.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=64 << 10, compression=CompressionType.NONE)
        writer.start()
        channels = [writer.register_channel(f"/t{number}", "raw", 0) for number in range(20)]
        for burst in range(200):  # a topic's messages fill chunks of their own
            for step in range(8):
                writer.add_message(channels[burst % 20], 1000 * burst + step, bytes(8 << 10), 1)
        writer.finish()
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary is not None
    channel = next(number for number, item in summary.channels.items() if item.topic == "/t7")
    chunks = [index for index in summary.chunk_indexes if channel in index.message_index_offsets]
    own = sum(index.chunk_length for index in chunks)
    assert own < path.stat().st_size / 5
    source = open_source(put(bucket, "twenty.mcap", path.read_bytes()))
    with Log(source.name, open_mcap(source, recover=False)) as log:
        rows = sum(batch.num_rows for batch in log.read("/t7", decode=False))
    assert rows == log.stream("/t7").rows == 80
    assert source.bytes_fetched <= 1.2 * own
    assert source.requests <= len(chunks) + 30


def test_an_object_replaced_in_between_is_noticed(bucket: Any) -> None:
    source = S3Source(put(bucket, "a.bin", bytes(10_000)))
    assert source.read_at(5000, 10) == bytes(10)
    put(bucket, "a.bin", b"x" * 10_000)
    with pytest.raises(IntegrityError, match="replaced"):
        source.read_at(5000, 10)
    source.close()


def test_what_is_not_there_says_what_to_do(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no such object"):
        open_log(f"s3://{BUCKET}/missing.mcap")
    with pytest.raises(ConfigError, match="no such bucket"):
        open_log("s3://no-such-bucket-here/a.mcap")
    with pytest.raises(ConfigError, match="bucket/key"):
        open_log("s3://only-a-bucket")
    with pytest.raises(CorruptLog, match="empty"):
        open_log(put(bucket, "empty.mcap", b""))
    with pytest.raises(CorruptLog, match="ROS 1"):
        open_log(put(bucket, "a.bag", b"#ROSBAG V2.0\n"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConfigError, match="cannot be reached"):
        open_log(f"s3://{BUCKET}/a.mcap")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="no AWS credentials"):
        open_log(f"s3://{BUCKET}/a.mcap")


def test_a_read_past_the_end_is_refused(bucket: Any) -> None:
    source = S3Source(put(bucket, "a.bin", bytes(10)))
    with pytest.raises(CorruptLog):
        source.read_at(5, 6)
    source.close()


class _BreakingServer:
    """Answers ranged requests, but breaks the connection in the middle of the first bodies, is busy, or knows no ranges."""

    def __init__(self, data: bytes, breaks: int = 0, *, busy: int = 0, ranges: bool = True) -> None:
        self._data, self._breaks = data, breaks
        self._busy, self._ranges = busy, ranges
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(4096)
                    if not piece:
                        break
                    request += piece
                if request:
                    self._answer(connection, request.decode())

    def _answer(self, connection: socket.socket, request: str) -> None:
        wanted = request.lower().split("range: bytes=")[1].split("\r\n")[0]
        first, last = (int(item) for item in wanted.split("-"))
        body = self._data[first : last + 1]
        if self._busy:
            self._busy -= 1
            connection.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if not self._ranges:
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(self._data)}\r\nETag: "e"\r\nConnection: close\r\n\r\n'
            connection.sendall(head.encode() + self._data)
            return
        head = (
            f'HTTP/1.1 206 Partial Content\r\nContent-Length: {len(body)}\r\nETag: "e"\r\nConnection: close\r\n'
            f"Content-Range: bytes {first}-{first + len(body) - 1}/{len(self._data)}\r\n\r\n"
        )
        if first >= 4096 and self._breaks:
            self._breaks -= 1
            body = body[: len(body) // 3]
        connection.sendall(head.encode() + body)

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)


@pytest.mark.parametrize("breaks", [0, 3])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, breaks: int
) -> None:
    data = bytes(range(256)) * 400
    server = _BreakingServer(data, breaks)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    source = S3Source(f"s3://{BUCKET}/a.bin")
    assert source.read_at(5000, 90_000) == data[5000:95_000]
    assert source.requests == 2 + breaks
    source.close()
    server.close()


def test_a_store_that_is_busy_is_asked_again(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 40
    server = _BreakingServer(data, busy=1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    source = S3Source(f"s3://{BUCKET}/a.bin")
    assert source.read_at(5000, 3000) == data[5000:8000]
    source.close()
    server.close()


@pytest.mark.parametrize("size_bytes", [4096, 4097])
def test_a_store_without_ranges_is_no_source_of_wrong_bytes(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    data = bytes(range(256)) * 16 + b"!" * (size_bytes - 4096)
    server = _BreakingServer(data, ranges=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    if size_bytes == 4096:  # the answer to the first request is all of it
        source = S3Source(f"s3://{BUCKET}/a.bin")
        assert source.read_at(0, 4096) == data
        source.close()
    else:
        with pytest.raises(ConfigError, match="another part of the object"):
            S3Source(f"s3://{BUCKET}/a.bin")
    server.close()
