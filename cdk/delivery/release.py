"""Fetches a pinned release of Terraform where there is none, and believes it only by its digest."""

from __future__ import annotations

import hashlib
import io
import platform
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platform_lib.errors import PlatformError
from platform_lib.storage import publish_bytes

_TIMEOUT_S = 60.0
_LARGEST_BYTES = 256 << 20
_SCHEMES = ("https://", "file://", "http://127.0.0.1:")
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class ReleaseError(PlatformError):
    """A release that cannot be had, or is not what it says."""

    usual_remedy = "install terraform 1.11 or OpenTofu 1.10 by other means, and put it on PATH"


@dataclass(frozen=True, slots=True)
class Release:
    """One pinned release.

    Attributes:
        program: `terraform`.
        version: `1.11.4`.
        source: The address of its folder.
        sha256: Digest of the archive, by system and machine, `linux_amd64`.
    """

    program: str
    version: str
    source: str
    sha256: Mapping[str, str]

    def archive(self, built_for: str) -> str:
        """Return the archive's name."""
        return f"{self.program}_{self.version}_{built_for}.zip"


# Source: terraform_1.11.4_SHA256SUMS of the publisher, 2025-04-09.
TERRAFORM = Release(
    "terraform",
    "1.11.4",
    "https://releases.hashicorp.com/terraform/1.11.4",
    {
        "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
        "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
        "darwin_amd64": "a56d5002b9f7647291faccc3dd1a70350e60fb61e4c45037629508b8fdc2575b",
        "darwin_arm64": "867e0808fa971217043e25b7a792b10720c79b1546f8a68479b74f138be73e18",
    },
)


def this_machine() -> str:
    """Return what a release must be built for to run here, `linux_amd64`."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{_MACHINES.get(machine, machine)}"


def fetch_release(release: Release, folder: Path, *, built_for: str | None = None, source: str | None = None) -> Path:
    """Put a release's program into a folder; nothing is written unless the archive's digest is the pinned one.

    Args:
        release: Which.
        folder: Where the program is to lie.
        built_for: System and machine; this one by default.
        source: The address of another folder that holds the archive: a mirror inside a closed network.

    Raises:
        ReleaseError: There is none for this machine, it cannot be fetched, or its digest is another.
    """
    built_for = built_for or this_machine()
    wanted = release.sha256.get(built_for)
    if wanted is None:
        raise ReleaseError(f"{release.program} {release.version} is not pinned for {built_for}", where="make tools")
    address = f"{(source or release.source).rstrip('/')}/{release.archive(built_for)}"
    content = _read(address)
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise ReleaseError(
            f"has the digest {found}, and {wanted} is pinned: it is not what was released",
            where=address,
            remedy="nothing of it was written; fetch it from its publisher, or ask who changed it",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            program = archive.read(release.program)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ReleaseError(f"holds no program '{release.program}'", where=address) from error
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / release.program
    publish_bytes(path, program)
    path.chmod(0o755)
    return path


def _read(address: str) -> bytes:
    if not address.startswith(_SCHEMES):
        raise ReleaseError(
            "is no https address", where=address, remedy="name a mirror by https, or a folder by file://"
        )
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as stream:  # noqa: S310 - the scheme is checked above
            content: bytes = stream.read(_LARGEST_BYTES + 1)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ReleaseError(f"cannot be fetched: {reason}", where=address) from error
    if len(content) > _LARGEST_BYTES:
        raise ReleaseError(f"is larger than {_LARGEST_BYTES >> 20} MiB, which no release is", where=address)
    return content
