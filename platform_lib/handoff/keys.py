"""The local signing key, and the public keys a machine trusts."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.home import Home
from platform_lib.storage import publish_bytes

PRIVATE_NAME = "bundle-signing.pem"
PUBLIC_NAME = "bundle-signing.pub.pem"
TRUSTED_FOLDER = "trusted"
MAX_PEM_BYTES = 16384


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key file.

    Attributes:
        key_id: sha256 of the key's PEM in its usual form: what a signature names it by.
    """

    path: Path
    key_id: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key file and its public half."""

    private: Path
    public: PublicKey


def ensure_signing_key(home: Home) -> SigningKey:
    """Return the home's signing key (ECDSA on P-256), made on first use, readable by its owner only.

    Raises:
        ConfigError: Others may read the private key, or it is no such key.
    """
    with home.lock("keys", wait_s=10.0):
        home.keys.mkdir(mode=0o700, exist_ok=True)
        private, public = home.keys / PRIVATE_NAME, home.keys / PUBLIC_NAME
        if not os.path.lexists(private):
            _make(private)
        _refuse_if_shared(private)
        pem = _public_pem_of(private)
        if not public.is_file() or public.read_bytes() != pem:
            publish_bytes(public, pem)
        return SigningKey(private, PublicKey(public, key_id(pem)))


def trusted_keys(keys_folder: Path) -> tuple[PublicKey, ...]:
    """Read the public keys a home trusts: its own, then those in ``keys/trusted/*.pem`` by name; none if it has none.

    Raises:
        ConfigError: One of them is no public key.
    """
    own = keys_folder / PUBLIC_NAME
    return tuple(
        read_public_key(path) for path in (own, *sorted((keys_folder / TRUSTED_FOLDER).glob("*.pem"))) if path.is_file()
    )


def read_public_key(path: Path) -> PublicKey:
    """Read one public key file.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It holds no PEM of an elliptic curve public key.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_PEM_BYTES + 1)
    except FileNotFoundError as error:
        raise MissingPartError(
            "no such file: it was to be the signer's public key", where=path, remedy="name that key with --public-key"
        ) from error
    return PublicKey(path, key_id(canonical_public_pem(data, path)))


def canonical_public_pem(data: bytes, where: Path) -> bytes:
    """Return a public key's PEM in its usual form.

    Raises:
        ConfigError: It is no PEM of an elliptic curve public key on P-256, P-384 or P-521.
    """
    remedy = "name the PEM file of the signer's public key; it begins with 'BEGIN PUBLIC KEY'"
    try:
        key = serialization.load_pem_public_key(data[:MAX_PEM_BYTES])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("not a public key in PEM form", where=where, remedy=remedy) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        raise ConfigError("not an elliptic curve key on P-256, P-384 or P-521", where=where, remedy=remedy)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(public_pem: bytes) -> str:
    """Return the id a signature names a key by: sha256 of its PEM."""
    return hashlib.sha256(public_pem).hexdigest()


def _make(path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.unlink(missing_ok=True)
    # Mode at creation, not after: there is no moment at which others could read it.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_if_shared(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            "the signing key is not a file of this user that nobody else may read",
            where=path,
            remedy=f"chmod 600 {path}; if others could read it, delete it and have a new one made",
        )


def _public_pem_of(path: Path) -> bytes:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("not a private key in PEM form", where=path, remedy="delete it; a new one is made") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
        raise ConfigError(
            "not an elliptic curve key on P-256, P-384 or P-521", where=path, remedy="delete it; a new one is made"
        )
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
