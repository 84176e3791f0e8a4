"""Child processes that end with their parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h


def end_with_parent(*, sent: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send `sent` to this process when its parent dies; to be called in the child.

    Linux only; elsewhere nothing happens, and an interrupted parent may leave a child to finish its step.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() == 1:  # the parent died before the call
        os.kill(os.getpid(), sent)
