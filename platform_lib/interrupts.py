"""Ctrl-C that is never lost: Python drops one that comes where its own import machinery cannot raise it."""

from __future__ import annotations

import signal
from types import FrameType

_AGAIN_S = 0.05
_IMPORTING = "<frozen importlib"


def keep_interrupts() -> None:
    """Let an interrupt that comes in the middle of an import wait for the import's end.

    While a module is imported, KeyboardInterrupt may rise in a callback of a module's lock or in an extension's start, where it is
    printed or swallowed, and the command would go on. To be called in the main thread, before anything large is imported; does
    nothing where somebody else answers SIGINT or SIGALRM.

    Source: Python 3.11, ``importlib/_bootstrap.py`` (``_get_module_lock``), and "Exception ignored in" of weak references.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        return
    signal.signal(signal.SIGALRM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    if _imports(frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        return
    signal.default_int_handler(number, frame)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False
