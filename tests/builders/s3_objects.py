"""Objects in the bucket of a local S3 server; the fixture `bucket` starts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BUCKET = "drives"


def put(client: Any, key: str, data: bytes) -> str:
    """Store an object and return its address."""
    client.put_object(Bucket=BUCKET, Key=key, Body=data)
    return f"s3://{BUCKET}/{key}"


def put_folder(client: Any, key: str, folder: Path) -> str:
    """Store a folder's files and return the address that they lie under."""
    for path in folder.rglob("*"):
        if path.is_file():
            put(client, f"{key}/{path.relative_to(folder)}", path.read_bytes())
    return f"s3://{BUCKET}/{key}"
