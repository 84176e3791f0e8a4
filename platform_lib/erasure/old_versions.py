"""What a bucket keeps of objects that are gone: older versions, and parts of uploads that were never completed.

A bucket with versioning keeps what is deleted. Files of a lake are written once, so whatever lies there beside the newest
versions is of the past, and an erasure has to take it all.
"""

from __future__ import annotations

from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.lake import objects
from platform_lib.lake.objects import ObjectPath

_RIGHTS = "s3:ListBucketVersions, s3:DeleteObjectVersion, s3:ListBucketMultipartUploads and s3:AbortMultipartUpload"


def refuse_hidden(root: ObjectPath) -> None:
    """Refuse a bucket of which nobody here can see what it keeps; before anything is erased.

    Raises:
        ConfigError: Its older versions or unfinished uploads may not be listed.
    """
    try:
        objects.old_versions(root)
        objects.unfinished_uploads(root)
    except ConfigError as error:
        raise ConfigError(
            f"it cannot be seen what the bucket keeps of deleted objects, so no erasure can be proven: {error.what}",
            where=root,
            remedy=f"grant {_RIGHTS}; nothing is erased yet",
        ) from error


def beyond_reach(root: ObjectPath) -> tuple[str, ...]:
    """Return what may hold copies of the lake that no erasure here reaches, in words."""
    try:
        buckets = objects.copied_to(root)
    except ConfigError as error:
        return (f"copies by replication, should there be any: {error.what}, so it cannot be seen",)
    return tuple(f"copies in {name}, to which the bucket replicates" for name in buckets)


def drop_old_versions(root: ObjectPath) -> int:
    """Delete for good what the bucket keeps below the lake beside the newest versions; return how many that were.

    Raises:
        IntegrityError: The bucket does not let them go.
    """
    objects.abort(objects.unfinished_uploads(root))
    found = objects.old_versions(root)
    # Content first: without the mark of its deletion an older version would be an object again.
    kept = objects.delete_versions([item for item in found if not item.is_marker])
    if not kept:
        kept = objects.delete_versions([item for item in found if item.is_marker])
    left = objects.old_versions(root)
    if kept or left:
        why = f" ({kept[0]})" if kept else ""
        raise IntegrityError(
            f"the bucket keeps {len(left)} older versions of the lake's objects, and does not let them go{why}",
            where=root,
            remedy=f"lift its object lock or grant {_RIGHTS}, then run `drivetrain erase --resume`; the erasure stays open",
        )
    return len(found)
