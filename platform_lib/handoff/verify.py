"""Offline verification of a package: every file, the signature, and the manifest against the files.

Needs the package, a public key and the base packages; no network, and no trust in anything that lies in the package.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, verifying
from pydantic import ValidationError

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.handoff.consistency import contradictions
from platform_lib.handoff.contents import Contents, list_contents, read_plain, sha256_plain, shown
from platform_lib.handoff.envelope import SignedList, read_envelope
from platform_lib.handoff.keys import PublicKey, canonical_public_pem, key_id
from platform_lib.handoff.model import MANIFEST_NAME, PUBLIC_KEY_NAME, SIGNATURE_NAME, HandoffManifest

Verdict = Literal["verified", "unauthenticated", "failed"]
_MAX_JSON_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found.

    Attributes:
        verdict: ``verified``: whole, and signed by a trusted key. ``unauthenticated``: whole, but signed by a key that
            nobody outside the package vouches for. ``failed``: see `problems`.
        problems: What is wrong, one line each.
        trusted: The trusted key that signed it, if one did.
        key_id: The key the signature names, if it could be read.
        manifest: None if it could not be read.
        files: Files checked.
        size_bytes: Their size together.
    """

    verdict: Verdict
    problems: tuple[str, ...]
    trusted: PublicKey | None
    key_id: str | None
    manifest: HandoffManifest | None
    files: int
    size_bytes: int


def verify_package(folder: Path, trusted: Sequence[PublicKey], *, only_these: bool = False) -> Verification:
    """Verify a package.

    Args:
        folder: The package. If it is itself a link, what it points to is verified.
        trusted: Public keys that are trusted; none of them may lie in the package.
        only_these: A package signed by any other key has failed, instead of being unauthenticated.

    Raises:
        MissingPartError: There is no folder of that name.
        ConfigError: A trusted key lies in the package, where whoever made the package could have put it.
    """
    root = _existing(folder)
    for key in trusted:
        if key.path.resolve().is_relative_to(root):
            raise ConfigError(
                "the public key lies in the package it is to vouch for",
                where=key.path,
                remedy="take the signer's key from a place that you trust",
            )
    contents = list_contents(root)
    count, size = len(contents.sizes_bytes), sum(contents.sizes_bytes.values())
    blank = Verification("failed", (), None, None, None, count, size)
    if contents.unsafe:  # opening anything could lead out of the package, or hang
        return replace(blank, problems=contents.unsafe + contents.odd)
    signed, problem = _signed_list(root, contents)
    if signed is None:
        return replace(blank, problems=(problem, *contents.odd))
    problems = [*contents.odd, *_file_problems(root, contents, signed)]
    signer, signature_problems = _signer(root, signed, trusted, intact=not problems)
    problems += signature_problems
    if only_these and signer not in trusted and not signature_problems:
        problems.append(f"signed by key {signed.key_id[:16]}, not by the key that was named")
    manifest, manifest_problems = _manifest(root, signed)
    problems += manifest_problems
    verdict: Verdict = "failed" if problems else "verified" if signer in trusted else "unauthenticated"
    vouching = signer if verdict == "verified" else None
    return Verification(verdict, tuple(problems), vouching, signed.key_id, manifest, count, size)


def _existing(folder: Path) -> Path:
    root = folder.expanduser().resolve()
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such package"
        raise MissingPartError(what, where=folder, remedy="name the package's folder, the one that holds manifest.json")
    return root


def _signed_list(root: Path, contents: Contents) -> tuple[SignedList | None, str]:
    if SIGNATURE_NAME not in contents.sizes_bytes:
        return None, f"{SIGNATURE_NAME} is missing: the package is not signed"
    try:
        return read_envelope(read_plain(root / SIGNATURE_NAME, _MAX_JSON_BYTES)), ""
    except (OSError, ValueError) as error:
        return None, f"{SIGNATURE_NAME} is not a signature of a package: {shown(str(error))}"


def _file_problems(root: Path, contents: Contents, signed: SignedList) -> list[str]:
    found = contents.sizes_bytes.keys() - {SIGNATURE_NAME}
    problems = [
        f"{shown(name)} was added: the signature does not cover it" for name in sorted(found - signed.sha256.keys())
    ]
    problems += [f"{shown(name)} is missing" for name in sorted(signed.sha256.keys() - found)]
    for name in sorted(found & signed.sha256.keys()):
        try:
            if sha256_plain(root / name) != signed.sha256[name]:
                emptied = contents.sizes_bytes[name] == 0
                problems.append(f"{shown(name)} {'is empty now' if emptied else 'was changed'}")
        except OSError as error:
            problems.append(f"{shown(name)} cannot be read: {error.strerror}")
    return problems


def _signer(
    root: Path, signed: SignedList, trusted: Sequence[PublicKey], *, intact: bool
) -> tuple[PublicKey | None, list[str]]:
    """Find the key that signed: a trusted one, else the one in the package; and what is wrong with the signature."""
    named = next((key for key in trusted if key.key_id == signed.key_id), None)
    own = _own_key(root)
    candidate = named or (own if own is not None and own.key_id == signed.key_id else None)
    if candidate is None:
        return None, [f"signed by key {signed.key_id[:16]}, which is neither trusted nor in the package"]
    if not intact:
        return candidate, []  # the files already contradict the signed list, whoever signed it
    problem = _signature_problem(root, candidate)
    return candidate, [] if problem is None else [problem]


def _own_key(root: Path) -> PublicKey | None:
    path = root / PUBLIC_KEY_NAME
    try:
        return PublicKey(path, key_id(canonical_public_pem(read_plain(path, 16384), path)))
    except (OSError, ConfigError):
        return None


def _signature_problem(root: Path, key: PublicKey) -> str | None:
    everything = hashing.Config().set_ignored_paths(paths=[SIGNATURE_NAME], ignore_git_paths=False)
    with tempfile.NamedTemporaryFile(suffix=".pem") as copy:
        # The library opens the key by name; a copy of what was read keeps it from being exchanged in between.
        copy.write(canonical_public_pem(read_plain(key.path, 16384), key.path))
        copy.flush()
        config = verifying.Config().use_elliptic_key_verifier(public_key=copy.name).set_hashing_config(everything)
        try:
            config.verify(root, root / SIGNATURE_NAME)
        except InvalidSignature:
            return f"{SIGNATURE_NAME} was not made by key {key.key_id[:16]}, or not over this list of files"
        except (ValueError, OSError) as error:
            return f"{SIGNATURE_NAME}: {shown(str(error))}"
    return None


def _manifest(root: Path, signed: SignedList) -> tuple[HandoffManifest | None, list[str]]:
    try:
        manifest = HandoffManifest.model_validate_json(read_plain(root / MANIFEST_NAME, _MAX_JSON_BYTES))
    except OSError as error:
        return None, [f"{MANIFEST_NAME} cannot be read: {error.strerror}"]
    except ValidationError as error:
        first = error.errors()[0]
        return None, [f"{MANIFEST_NAME} is not a handoff manifest: {'.'.join(map(str, first['loc']))}: {first['msg']}"]
    return manifest, contradictions(root, manifest, signed)
