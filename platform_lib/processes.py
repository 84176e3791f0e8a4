"""Child processes that end with their parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal

PARENT_VARIABLE = "DRIVETRAIN_PARENT_PID"
_PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h


def end_with_parent(*, sent: signal.Signals = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel to send `sent` to this process when its parent dies; to be called in the child.

    Linux only; elsewhere nothing happens, and an interrupted parent may leave a child to finish its step.

    Args:
        sent: The signal.
        parent: The parent's process id, where the child was told; a parent that died before this call is seen by it.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() == 1 if parent is None else os.getppid() != parent:
        os.kill(os.getpid(), sent)


def obey_parent() -> None:
    """End by SIGTERM when the parent that named itself in the environment dies; without one, do nothing.

    SIGTERM, not SIGKILL: a command whose parent was killed gets the chance to stop its Ray and PostgreSQL.
    """
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is not None and parent.isdigit():
        end_with_parent(sent=signal.SIGTERM, parent=int(parent))
