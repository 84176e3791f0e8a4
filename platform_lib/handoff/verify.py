"""Offline verification of a bundle: every file, the signature, and the manifest against the files.

Needs the bundle, a public key and a base installation; no network, and no trust in anything that lies in the bundle. What
it reads, and how long that takes, is bounded by what the signature lists. A hard link is as good as its bytes: whoever
can change them by another name can also do so after the verification.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.evidence import DeviceRun
from platform_lib.handoff import strict_json
from platform_lib.handoff.consistency import MAX_JSON_BYTES, contradictions
from platform_lib.handoff.contents import Contents, SignedFiles, list_contents, read_plain, sha256_plain, shown
from platform_lib.handoff.envelope import SignedList, read_envelope
from platform_lib.handoff.keys import MAX_PEM_BYTES, PublicKey, canonical_public_pem, key_id
from platform_lib.handoff.measured import measured_of
from platform_lib.handoff.model import MANIFEST_NAME, PUBLIC_KEY_NAME, SIGNATURE_NAME, HandoffManifest
from platform_lib.handoff.signing import signature_problem

Verdict = Literal["verified", "unauthenticated", "failed"]
# Files and folders beyond those that the signature lists, before a folder is no bundle at all.
_STRANGERS = 1000
# Problems named one by one.
_NAMED = 20
# Characters of a line that quotes the bundle.
_LINE = 400


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        folder: What was verified, links resolved once and for all.
        verdict: ``verified``: whole, and signed by a trusted key. ``unauthenticated``: whole, but signed by a key that
            nobody outside the bundle vouches for. ``failed``: see `problems`.
        problems: What is wrong, one line each.
        trusted: The trusted key that signed it, if one did.
        key_id: The key the signature names, if it could be read.
        manifest: None if it could not be read.
        files: Files checked.
        size_bytes: Their size together.
        device: What was measured on boards, each borne out by the measurement that its maker signed.
    """

    folder: Path
    verdict: Verdict
    problems: tuple[str, ...]
    trusted: PublicKey | None
    key_id: str | None
    manifest: HandoffManifest | None
    files: int
    size_bytes: int
    device: tuple[DeviceRun, ...] = ()


def verify_bundle(folder: Path, trusted: Sequence[PublicKey], *, only_these: bool = False) -> Verification:
    """Verify a bundle.

    Args:
        folder: The bundle. If it is itself a link, what it points to is verified.
        trusted: Public keys that are trusted; none of them may lie in the bundle.
        only_these: A bundle signed by any other key has failed, instead of being unauthenticated.

    Raises:
        MissingPartError: There is no folder of that name, or it is no bundle.
        ConfigError: A trusted key lies in the bundle, where whoever made the bundle could have put it.
    """
    root = _existing(folder)
    for key in trusted:
        if key.path.resolve().is_relative_to(root):
            raise ConfigError(
                "the public key lies in the bundle it is to vouch for",
                where=key.path,
                remedy="take the signer's key from a place that you trust",
            )
    blank = Verification(root, "failed", (), None, None, None, 0, 0)
    signed, problem = _signed_list(root)
    if signed is None:
        return replace(blank, problems=(problem,))
    limit = 2 * len(signed.sha256) + _STRANGERS
    contents = list_contents(root, limit=limit)
    blank = replace(blank, files=len(contents.files), size_bytes=contents.size_bytes)
    if contents.unsafe:  # opening anything could lead out of the bundle, or hang
        return replace(blank, problems=_shortened([*contents.unsafe, *contents.odd]))
    files = SignedFiles(root, signed.sha256)
    manifest, problems = _manifest(files)
    problems = [*contents.odd, *_strangers(contents, signed), *problems, *_changed(root, contents, signed, manifest)]
    signer, signature_problems = _signer(root, signed, trusted, intact=not problems)
    problems += signature_problems
    if only_these and signer not in trusted and not signature_problems:
        problems.append(f"signed by key {signed.key_id[:16]}, not by the key that was named")
    if manifest is not None:
        problems += contradictions(files, manifest, signed)
    device, unfounded = measured_of(files)
    problems += unfounded
    if not problems and list_contents(root, limit=limit) != contents:
        problems.append("the bundle was changed while it was verified")
    verdict: Verdict = "failed" if problems else "verified" if signer in trusted else "unauthenticated"
    vouching = signer if verdict == "verified" else None
    return replace(
        blank,
        verdict=verdict,
        problems=_shortened(problems),
        trusted=vouching,
        key_id=signed.key_id,
        manifest=manifest,
        device=() if problems else device,
    )


def _existing(folder: Path) -> Path:
    remedy = "name the folder that `drivetrain bundle` wrote, the one that holds manifest.json and bundle.sig"
    try:
        root = folder.expanduser().resolve()
        found = root.is_dir()
    except (OSError, RuntimeError) as error:  # no permission, too long a name, a loop of links
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MissingPartError(f"cannot be read ({what})", where=folder, remedy=remedy) from error
    if not found:
        raise MissingPartError("not a folder" if root.exists() else "no such bundle", where=folder, remedy=remedy)
    if not os.access(root, os.R_OK | os.X_OK):
        raise MissingPartError("this user may not read it", where=folder, remedy="change its permissions")
    if not any(os.path.lexists(root / name) for name in (MANIFEST_NAME, SIGNATURE_NAME)):
        raise MissingPartError(f"no {MANIFEST_NAME}: not a bundle", where=folder, remedy=remedy)
    return root


def _signed_list(root: Path) -> tuple[SignedList | None, str]:
    path = root / SIGNATURE_NAME
    if path.is_symlink():
        return None, f"{SIGNATURE_NAME} is a link, not a plain file"
    if not os.path.lexists(path):
        return None, f"{SIGNATURE_NAME} is missing: not a bundle, or one that is not signed"
    try:
        return read_envelope(read_plain(path, MAX_JSON_BYTES)), ""
    except (OSError, ValueError) as error:
        return None, f"{SIGNATURE_NAME} is not a signature of a bundle: {shown(str(error))[:_LINE]}"


def _strangers(contents: Contents, signed: SignedList) -> list[str]:
    found = contents.files.keys() - {SIGNATURE_NAME}
    added = [
        f"{shown(name)} was added: the signature does not cover it" for name in sorted(found - signed.sha256.keys())
    ]
    return added + [f"{shown(name)} is missing" for name in sorted(signed.sha256.keys() - found)]


def _changed(root: Path, contents: Contents, signed: SignedList, manifest: HandoffManifest | None) -> list[str]:
    """Compare every file with its digest, reading no byte more than the signed manifest says there are."""
    if manifest is None:
        return []
    sizes_bytes = {entry.path: entry.bytes for entry in manifest.files}
    problems = []
    for name in sorted((contents.files.keys() & signed.sha256.keys()) - {MANIFEST_NAME}):
        size_bytes = contents.files[name].size_bytes
        if size_bytes != sizes_bytes.get(name, size_bytes):
            problems.append(f"{shown(name)} {'was changed' if size_bytes else 'is empty now'}")
            continue
        try:
            if sha256_plain(root / name) != signed.sha256[name]:
                problems.append(f"{shown(name)} was changed")
        except OSError as error:
            problems.append(f"{shown(name)} cannot be read: {error.strerror}")
    return problems


def _signer(
    root: Path, signed: SignedList, trusted: Sequence[PublicKey], *, intact: bool
) -> tuple[PublicKey | None, list[str]]:
    """Find the key that signed: a trusted one, else the one in the bundle; and what is wrong with the signature."""
    named = next((key for key in trusted if key.key_id == signed.key_id), None)
    own = _own_key(root)
    candidate = named or (own if own is not None and own.key_id == signed.key_id else None)
    if candidate is None:
        return None, [f"signed by key {signed.key_id[:16]}, which is neither trusted nor in the bundle"]
    if not intact:
        return candidate, []  # the files already contradict the signed list, whoever signed it
    problem = signature_problem(root, candidate)
    return candidate, [] if problem is None else [problem]


def _own_key(root: Path) -> PublicKey | None:
    path = root / PUBLIC_KEY_NAME
    try:
        return PublicKey(path, key_id(canonical_public_pem(read_plain(path, MAX_PEM_BYTES), path)))
    except (OSError, ConfigError):
        return None


def _manifest(files: SignedFiles) -> tuple[HandoffManifest | None, list[str]]:
    try:
        data = files.read(MANIFEST_NAME, MAX_JSON_BYTES)
    except OSError as error:
        return None, [f"{MANIFEST_NAME} cannot be read: {error.strerror}"]
    except ValueError as error:
        return None, [f"{error}, so no other file was compared with it"]
    try:
        return strict_json.parse(HandoffManifest, data), []
    except ValueError as error:
        return None, [f"{MANIFEST_NAME} is not a handoff manifest: {shown(str(error))[:_LINE]}"]


def _shortened(problems: Sequence[str]) -> tuple[str, ...]:
    more = [f"and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
    return (*problems[:_NAMED], *more)
