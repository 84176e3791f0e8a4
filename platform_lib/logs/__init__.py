"""The one door for drive logs: MDF 3/4, MCAP, ROS 1 and ROS 2 bags, as Arrow record batches.

    from platform_lib.logs import open_log

    with open_log("can.mf4", dbc=["vehicle.dbc"]) as log:
        for stream in log.streams:
            for batch in log.read(stream.name):
                ...

The format is told by the file's first bytes, never by its suffix. See `open_log` for clocks, names and recovery.
"""

from __future__ import annotations

from platform_lib.logs.door import LOG_SUFFIXES, READER_VERSION, Log, decode_cdr, find_logs, open_log
from platform_lib.logs.model import Report, Stream

__all__ = ["LOG_SUFFIXES", "READER_VERSION", "Log", "Report", "Stream", "decode_cdr", "find_logs", "open_log"]
