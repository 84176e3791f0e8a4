"""How many bytes one topic of twenty costs from an indexed MCAP in an object store (moto, over loopback)."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from mcap.reader import make_reader
from moto.server import ThreadedMotoServer

from platform_lib.logs.bytes_source import open_source
from platform_lib.logs.door import Log
from platform_lib.logs.mcap.source import open_mcap
from platform_lib.logs.s3_source import S3Source
from tests.bench.digests import NamedDigests
from tests.bench.measure import differences
from tests.bench.side import Digests
from tests.bench.verdict import Line, Measured
from tests.bench.works import STORE_KEY

WITHIN = 1.2
"""How many times the topic's chunks may be fetched."""

_TOPIC = "/topic_7"
_BUCKET = "drives"


def measure_one_topic(path: Path) -> Line:
    """Read one topic from the store; its values are compared with mcap's from the file."""
    own_bytes, expected = _by_mcap(path)
    with _store(path) as address:
        source = open_source(address)
        assert isinstance(source, S3Source)
        with Log(address, open_mcap(source, recover=False)) as log:
            found = _digests(log)
        fetched_bytes = source.bytes_fetched
    return Line(
        key=STORE_KEY,
        work="one topic of twenty from S3",
        peer="that topic's chunks",
        unit="MB fetched",
        required_ratio=None,
        ours=Measured(fetched_bytes / 1e6, None),
        theirs=Measured(own_bytes / 1e6, None),
        floor=own_bytes / 1e6,
        bottom=own_bytes / 1e6,
        parts={},
        differences=differences(found, expected),
        compared=len(found),
        within=WITHIN,
    )


def _digests(log: Log) -> Digests:
    found = NamedDigests()
    for batch in log.read(_TOPIC, decode=False):
        found["time"].times(batch.column("timestamp_ns").to_numpy())
        found["payload"].numbers([zlib.crc32(item.as_py()) for item in batch.column("data")])
    return found.texts()


def _by_mcap(path: Path) -> tuple[int, Digests]:
    """Return the bytes of the topic's chunks, and what mcap reads of it."""
    found = NamedDigests()
    with path.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        number = next(number for number, channel in summary.channels.items() if channel.topic == _TOPIC)
        own = sum(item.chunk_length for item in summary.chunk_indexes if number in item.message_index_offsets)
        for _, _, message in reader.iter_messages(topics=[_TOPIC]):
            found["time"].times([message.log_time])
            found["payload"].numbers([zlib.crc32(message.data)])
    return own, found.texts()


@contextmanager
def _store(path: Path) -> Iterator[str]:
    """Put a file into a store of its own; the environment names it for as long as the block lasts."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it tells of every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }
    try:
        client = boto3.client("s3")
        client.create_bucket(Bucket=_BUCKET)
        with path.open("rb") as stream:
            client.put_object(Bucket=_BUCKET, Key=path.name, Body=stream)
        client.close()
        yield f"s3://{_BUCKET}/{path.name}"
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()
