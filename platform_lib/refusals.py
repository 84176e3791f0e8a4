"""What the operating system or a data model refuses, in the words of every other error."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from platform_lib.errors import PlatformError

if TYPE_CHECKING:
    from pydantic import ValidationError

_REMEDIES = {
    errno.ENOSPC: "free some disk space and run the command again; what was finished is kept",
    errno.EDQUOT: "free some of the disk quota and run the command again; what was finished is kept",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`), or take a file system that holds larger ones",
    errno.EROFS: "name a writable place with --home or --out",
    errno.EACCES: "name a place this user may use, or change its permissions",
    errno.EPERM: "name a place this user may use, or change its permissions",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "check the name: a part of it is a file",
    errno.EISDIR: "name a file: this is a folder",
    errno.EEXIST: "name another place, or remove what is there",
    errno.ENOTEMPTY: "name another place, or remove what is there",
    errno.ELOOP: "name the place itself: the links to it lead in a circle",
    errno.ENAMETOOLONG: "take a shorter name, or a place nearer to the root",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "stop other programs: the system has no open files left",
    errno.ENOMEM: "stop other programs, or take a machine with more memory",
    errno.ETXTBSY: "stop the program that is being replaced",
    errno.EBUSY: "stop what uses it, then run the command again",
    errno.EIO: "check the disk or network drive under it: it gave no data",
    errno.ESTALE: "mount the network drive again: it no longer knows this file",
    errno.EPIPE: "run the command again: a program it talks to ended too early",
    errno.ECONNREFUSED: "check that the server runs and listens at this address",
}
# A copy's error names what was read first and what was written second; these come of writing.
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def refused_by_system(error: OSError, *, where: str) -> PlatformError:
    """Say what the system refused.

    Args:
        error: What it raised.
        where: The place for people, if the error names no file.
    """
    place = error.filename
    if error.filename2 is not None and error.errno in _OF_WRITING:
        place = error.filename2
    if isinstance(place, bytes):
        place = place.decode(errors="surrogateescape")
    remedy = _REMEDIES.get(
        error.errno or 0, "check that this place can be reached and used, then run the command again"
    )
    what = error.strerror or str(error) or type(error).__name__
    return PlatformError(what, where=where if place in (None, "") or isinstance(place, int) else place, remedy=remedy)


def first_problem(error: ValidationError) -> str:
    """Say the first thing that a model refused: where in the document, if it is anywhere in particular, and what."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)
