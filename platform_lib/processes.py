"""Child processes that end with their parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h


PARENT_VARIABLE = "DRIVETRAIN_PARENT_PID"


def obey_parent() -> None:
    """End by SIGTERM when the parent that named itself in the environment dies; without one, do nothing.

    SIGTERM, not SIGKILL: a command whose parent was killed gets the chance to stop its Ray and PostgreSQL. Linux only;
    elsewhere nothing happens, and a killed parent may leave a child to finish its step.
    """
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None:
        return
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    except (OSError, AttributeError):
        return
    if str(os.getppid()) != parent:  # it died before the call
        os.kill(os.getpid(), signal.SIGTERM)
