"""Measures on a board that is reached from here: kit there, facts, run, answers back, signed."""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from edge_compile.device.kit import COMMAND, FACTS_SCRIPT, listed_files
from edge_compile.device.measurement import RESULTS, check_board, read_facts, sign_results
from edge_compile.device.transport import Transport
from platform_lib.errors import PlatformError
from platform_lib.evidence.measurements import Measurement
from platform_lib.handoff.keys import SigningKey

logger = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_COPY_S = 600.0
_CLEAR_S = 60.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What only a person can say, and signs: which board it is, who measured, with which key."""

    board: str
    by: str
    key: SigningKey


def measure(
    kit: Path,
    transport: Transport,
    out: Path,
    claim: Claim,
    *,
    command: str = COMMAND,
    timeout_s: float = 900.0,
    say: Callable[[str], None] | None = None,
) -> Measurement:
    """Run a kit on a board and publish the signed measurement.

    The board is asked what it is before anything runs there. Its folder is new, and removed at the end.

    Args:
        kit: The kit's folder.
        transport: The way to the board.
        out: The measurement's folder, new.
        claim: Who says so.
        command: What runs in the kit's folder on the board.
        timeout_s: How long it may run.
        say: Told what happens next.

    Raises:
        PlatformError: The board is none, cannot be reached, failed, or its answers are not what the kit asks for.
    """
    tell = say or (lambda _: None)
    remote = f"{transport.scratch}/drivetrain-{uuid.uuid4().hex[:16]}"
    here = _BOOT_ID.read_text().strip() if _BOOT_ID.is_file() else None
    check_board(read_facts(transport.run(_WHO, timeout_s=_COPY_S)), files=None, here=here)
    tell(f"copying the kit to {claim.board}")
    try:
        transport.push(kit, remote, timeout_s=_COPY_S)
        facts = read_facts(transport.run(f"cd {remote} && sh {FACTS_SCRIPT}", timeout_s=_COPY_S))
        check_board(facts, files=len(listed_files(kit)), here=here)
        tell(f"running on {claim.board}")
        transport.run(f"cd {remote} && {command}", timeout_s=timeout_s)
        tell("fetching its answers")
        with tempfile.TemporaryDirectory() as folder:
            transport.pull(remote, RESULTS, Path(folder), timeout_s=_COPY_S)
            return sign_results(
                kit,
                Path(folder),
                facts,
                out,
                key=claim.key,
                board=claim.board,
                by=claim.by,
                transport=cast("Literal['ssh', 'adb']", transport.kind),
                command=command,
            )
    finally:
        _clear(transport, remote)


def _clear(transport: Transport, remote: str) -> None:
    try:
        transport.run(f"rm -rf {remote}", timeout_s=_CLEAR_S)
    except PlatformError as error:  # a board that just broke off: what broke it is the error to see
        logger.warning("%s is left on the board: %s", remote, error.what)


_WHO = "echo machine=$(uname -m); echo boot_id=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
