"""The errors people meet: each says what happened, where, and what to do about it."""

from __future__ import annotations

from typing import ClassVar


class PlatformError(Exception):
    """Root of every error this platform raises on purpose.

    Args:
        what: What went wrong, in one clause.
        where: The file, row, key or resource it concerns.
        remedy: The next step that mends it.

    Attributes:
        usual_remedy: What mends most errors of this kind, said where whoever raised one knew nothing better.
        exit_status: What a command that ends by it leaves to the shell.
    """

    usual_remedy: ClassVar[str] = "see `drivetrain doctor`; `drivetrain --verbose ...` shows where it happened"
    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(self.what, self.where, self.remedy)

    def completed(self, *, where: str) -> PlatformError:
        """Return this error with a place and a remedy, should it have come without; `where` is the command."""
        return _rebuild(type(self), self.what, self.where or where, self.remedy or self.usual_remedy)

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        return text if self.remedy is None else f"{text}. Remedy: {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross Ray's process boundary.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[PlatformError], what: str, where: str | None, remedy: str | None) -> PlatformError:
    return kind(what, where=where, remedy=remedy)


class CorruptLog(PlatformError):  # noqa: N818 - a stable public name
    """A drive log whose bytes contradict its format: cut short, flipped, or never a log."""

    usual_remedy: ClassVar[str] = "fetch it again from its source; --recover takes what is whole of it"


class UnsupportedLog(PlatformError):  # noqa: N818 - a stable public name
    """A sound log that holds something this reader does not decode, and says so instead of guessing."""

    usual_remedy: ClassVar[str] = "read the other streams; this one needs another tool"


class UsageError(PlatformError):
    """A command line that says what no command takes: an unknown option, a missing argument, an empty value."""

    exit_status: ClassVar[int] = 2


class StoppedError(PlatformError):
    """Ctrl-C."""

    usual_remedy: ClassVar[str] = "run the same command again: what was finished stays, and it goes on from there"
    exit_status: ClassVar[int] = 130  # as shells have it: 128 and SIGINT's number


class OutputError(PlatformError):
    """Standard output is closed, or what it leads to takes no more."""


class ConfigError(PlatformError):
    """Configuration that cannot mean what it says: a misspelt key, a value out of range, a contradiction."""

    usual_remedy: ClassVar[str] = "mend the value; `drivetrain COMMAND --help` says what is allowed"


class HomeError(PlatformError):
    """The home folder is missing, of another layout version, or not writable."""


class HomeBusyError(HomeError):
    """Another command holds the lock that this one needs."""


class MissingPartError(PlatformError):
    """An optional part is not installed, or an earlier step has not run."""

    usual_remedy: ClassVar[str] = (
        "`drivetrain doctor` says what is missing; `drivetrain --help` lists the steps in order"
    )


class IntegrityError(PlatformError):
    """Bytes differ from what their manifest, digest or signature says."""

    usual_remedy: ClassVar[str] = "run the step that makes it again; its files are not edited by hand"


class ContractError(PlatformError):
    """Data that breaks the contract between two steps: a missing column, a drive in two splits."""

    usual_remedy: ClassVar[str] = "make the input again with the step before this one"


class CompileError(PlatformError):
    """The compiler refused the model, crashed, ran over its limits, or produced something other than asked."""

    usual_remedy: ClassVar[str] = (
        "look at the file it names and at free memory; `drivetrain doctor --deep` tries the compiler"
    )
