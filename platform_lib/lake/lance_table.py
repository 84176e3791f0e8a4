"""Lance tables of the lake: opened, made and committed to, in a folder or in a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lance
import pyarrow as pa

from platform_lib.lake.place import LakePath, flushed, holds_any, lance_options


def open_lance(uri: LakePath, version: int | None = None) -> Any:
    """Open a version of a table, the newest by default (a `lance.LanceDataset`)."""
    return lance.dataset(str(uri), version=version, storage_options=lance_options(uri))


def is_lance(uri: LakePath) -> bool:
    """Whether there is a table."""
    return holds_any(uri / "_versions")


def create_lance(uri: LakePath, schema: pa.Schema) -> None:
    """Make a table without rows."""
    with flushed(uri):
        empty = pa.Table.from_batches([], schema)
        lance.write_dataset(empty, str(uri), mode="create", storage_options=lance_options(uri))


def commit_lance(uri: LakePath, store: Any, operation: Any) -> Any:
    """Make a new version of the table that `store` is open at; return it."""
    with flushed(uri):
        return lance.LanceDataset.commit(
            store, operation, read_version=store.version, storage_options=lance_options(uri)
        )


def append_lance(uri: LakePath, store: Any, fragments: Sequence[str]) -> Any:
    """Add written fragments, each its metadata as JSON; return the new version."""
    metadata = [lance.fragment.FragmentMetadata.from_json(text) for text in fragments]
    return commit_lance(uri, store, lance.LanceOperation.Append(metadata))


def delete_fragments(uri: LakePath, store: Any, changed: Sequence[Any], whole: Sequence[int], condition: str) -> Any:
    """Drop whole fragments, and put `changed` ones, of which rows were deleted, in the place of others."""
    return commit_lance(uri, store, lance.LanceOperation.Delete(list(changed), list(whole), condition))
