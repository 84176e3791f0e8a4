"""How much memory work on a log takes beside the interpreter, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BUDGET_BYTES = 512 << 20
"""What reading, describing and exporting may take."""

_PROGRAM = """
import json, sys
from pathlib import Path
from platform_lib.logs import open_log

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

{work}

work(sys.argv[1])  # imports and compiled loops are not the log's
before = peak()
print(json.dumps([work(sys.argv[2]), peak() - before]))
"""


def measured(work: str, small: Path, large: Path, *more: object) -> tuple[int, int]:
    """Do some work on a small log, and then on a large one.

    Args:
        work: Python that defines ``work(path)``; it finds `open_log`, and `more` in ``sys.argv[3:]``.
        small: What it loads and compiles for this one counts for nothing.
        large: The log that is measured.
        more: What else it needs.

    Returns:
        What the work returned for the large log, and by how many bytes it raised the peak.
    """
    command = [sys.executable, "-c", _PROGRAM.format(work=work), *map(str, (small, large, *more))]
    found, peak_bytes = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found, peak_bytes
