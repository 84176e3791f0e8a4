"""Signing a bundle: one model-signing signature over every file in it, nothing ignored."""

from __future__ import annotations

from pathlib import Path

from model_signing import hashing, signing

from platform_lib.handoff.keys import SigningKey
from platform_lib.handoff.model import SIGNATURE_NAME


def sign_folder(folder: Path, key: SigningKey) -> Path:
    """Sign every file below `folder`, hidden ones and ``.git*`` included; return the signature's path.

    The signature is written last, so the signed list ignores no path at all; the folder's name goes into it as the
    bundle's. ECDSA draws a random number: signing twice gives two signatures, both good.

    Args:
        folder: Named as the bundle, and complete.
        key: The private key to sign with.
    """
    everything = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    target = folder / SIGNATURE_NAME
    if target.exists():
        raise FileExistsError(f"{target} is already signed")
    signing.Config().use_elliptic_key_signer(private_key=key.private).set_hashing_config(everything).sign(
        folder, target
    )
    return target
