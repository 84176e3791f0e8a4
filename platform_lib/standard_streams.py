"""Standard output and error as a command owns them: what cannot be written is no success, and a gone reader no noise."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys

from platform_lib.errors import OutputError

READER_GONE_STATUS = 128 + signal.SIGPIPE
"""What a shell reports of a program that a closed pipe ended."""


class ReaderGone(Exception):  # noqa: N818 - the reader has what it wanted; nothing is wrong
    """Whoever read standard output or error has closed it, as `head` does.

    No `OSError` on purpose: libraries catch those of a pipe and go on, or end with a status of their own.
    """


class _Stream(io.TextIOWrapper):
    """A standard stream that says in its own words what became of a write."""

    def __init__(self, descriptor: int, encoding: str, *, told: bool) -> None:
        """Write to `descriptor`; failures of a stream that is not `told` are swallowed: they have no other place."""
        self._told = told
        # What the terminal's encoding lacks, and bytes of file names that are no text, are shown as escapes.
        super().__init__(
            open(descriptor, "wb", closefd=False),
            encoding=encoding,
            errors="backslashreplace",
            line_buffering=os.isatty(descriptor) or not told,
        )

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            return self._failed(error, len(text))

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._failed(error, 0)

    def _failed(self, error: OSError, length: int) -> int:
        if error.errno == errno.EPIPE:
            raise ReaderGone from error
        if self._told:
            raise OutputError(
                f"cannot be written ({error.strerror})",
                where="standard output",
                remedy="send it to a place with free space, and run the command again",
            ) from error
        return length


def own_standard_streams() -> None:
    """Take over standard output and error for this process; a closed standard error or input becomes the null device.

    Raises:
        OutputError: Standard output is closed.
    """
    closed = sys.stdout is None
    encodings = [stream.encoding if stream is not None else "utf-8" for stream in (sys.stdout, sys.stderr)]
    # A closed descriptor's number would go to the next file that is opened, and a child would print into that.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library's signature
    os.close(descriptor)
    sys.stdout, sys.stderr = _Stream(1, encodings[0], told=True), _Stream(2, encodings[1], told=False)
    if closed:
        raise OutputError(
            "it is closed, so no result can be given",
            where="standard output",
            remedy="send it to a file, or to /dev/null if nobody is to read it",
        )


def abandon_standard_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter's last flush cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
