"""One model-signing signature over every file of a folder, nothing ignored: made, and compared with the files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, signing, verifying

from platform_lib.handoff.contents import read_plain, shown
from platform_lib.handoff.keys import MAX_PEM_BYTES, PublicKey, SigningKey, canonical_public_pem
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


def signature_problem(root: Path, key: PublicKey) -> str | None:
    """Say what is wrong with the signature of a folder by a key; None if it covers every file there, as it is.

    Args:
        root: A folder that holds its own signature.
        key: Whose signature it has to be.
    """
    everything = hashing.Config().set_ignored_paths(paths=[SIGNATURE_NAME], ignore_git_paths=False)
    with tempfile.NamedTemporaryFile(suffix=".pem") as copy:
        # The library opens the key by name; a copy of what was read keeps it from being exchanged in between.
        copy.write(canonical_public_pem(read_plain(key.path, MAX_PEM_BYTES), key.path))
        copy.flush()
        config = verifying.Config().use_elliptic_key_verifier(public_key=copy.name).set_hashing_config(everything)
        try:
            config.verify(root, root / SIGNATURE_NAME)
        except InvalidSignature:
            return f"{SIGNATURE_NAME} was not made by key {key.key_id[:16]}, or not over this list of files"
        except (ValueError, OSError) as error:
            return f"{SIGNATURE_NAME}: {shown(str(error))}"
    return None
