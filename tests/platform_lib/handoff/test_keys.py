from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.handoff.keys import ensure_signing_key, read_public_key, trusted_keys
from platform_lib.home import open_home


def _public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_the_key_is_made_once_and_its_public_half_is_mended(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    first = ensure_signing_key(home)
    first.public.path.unlink()
    assert ensure_signing_key(home) == first
    assert trusted_keys(home.keys) == (first.public,)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    private = ensure_signing_key(home).private
    private.chmod(0o640)
    with pytest.raises(ConfigError, match="nobody else may read"):
        ensure_signing_key(home)


def test_a_linked_or_foreign_private_key_is_refused(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    private = ensure_signing_key(home).private
    moved = tmp_path / "moved.pem"
    private.rename(moved)
    private.symlink_to(moved)
    with pytest.raises(ConfigError, match="not a file of this user"):
        ensure_signing_key(home)
    private.unlink()
    private.write_text("no key")
    private.chmod(0o600)
    with pytest.raises(ConfigError, match="not a private key"):
        ensure_signing_key(home)


def test_public_keys_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(MissingPartError):
        read_public_key(path)
    for content, said in (
        (b"", "not a public key"),
        (_public_pem(rsa.generate_private_key(65537, 2048)), "not an elliptic curve"),
        (_public_pem(ec.generate_private_key(ec.SECP256K1())), "not an elliptic curve"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            read_public_key(path)
    good = _public_pem(ec.generate_private_key(ec.SECP384R1()))
    path.write_bytes(good)
    first = read_public_key(path).key_id
    path.write_bytes(good.replace(b"\n", b"\r\n"))
    assert read_public_key(path).key_id == first
