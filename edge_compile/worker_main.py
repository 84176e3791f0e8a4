"""The first thing a worker process runs: ties its life to its parent's, and only then loads the heavy tool."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from pathlib import Path

from edge_compile.worker import end_for_a_full_disk, write_answer, write_refusal
from platform_lib.errors import PlatformError
from platform_lib.processes import end_with_parent


def main() -> None:
    """Serve one request: ``python -m edge_compile.worker_main MODULE REQUEST PARENT_PID``.

    Any error of a tool leaves its traceback in the log and a status other than 0; an error of ours is handed back.
    """
    module, request, parent = sys.argv[1], Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
    end_with_parent(parent=parent)
    try:
        write_answer(importlib.import_module(module).serve(request))
    except PlatformError as error:
        write_refusal(error)
        raise SystemExit(1) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            end_for_a_full_disk()
        raise
    # The answer lies on the disk. Torch and its libraries take another second to be taken apart, for nothing.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
