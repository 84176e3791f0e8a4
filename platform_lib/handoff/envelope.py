"""The signature file, read strictly before the signing library sees it. Pure.

The library tolerates formats before its 1.0 release, ignored paths and signatures without a key's name; a bundle has
none of them, so all are refused here. What is read here is not yet authentic.
"""

from __future__ import annotations

import base64
import binascii
import unicodedata
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platform_lib.handoff import strict_json
from platform_lib.refusals import first_problem

Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _PublicKeyHint(_Strict):
    hint: Hex64


class _Material(_Strict):
    publicKey: _PublicKeyHint  # noqa: N815 - the format's own spelling
    tlogEntries: Annotated[tuple[()], Field()] = ()  # noqa: N815 - the format's own spelling


class _Signature(_Strict):
    sig: Annotated[str, Field(min_length=1)]
    keyid: Literal[""] = ""


class _Dsse(_Strict):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815 - the format's own spelling
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=1)]


class _Envelope(_Strict):
    mediaType: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]  # noqa: N815 - the format's own spelling
    verificationMaterial: _Material  # noqa: N815 - the format's own spelling
    dsseEnvelope: _Dsse  # noqa: N815 - the format's own spelling


class _Subject(_Strict):
    name: str
    digest: dict[Literal["sha256"], Hex64]


class _Serialization(_Strict):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: Literal[False]


class _Resource(_Strict):
    name: str
    algorithm: Literal["sha256"]
    digest: Hex64


class _Predicate(_Strict):
    serialization: _Serialization
    resources: tuple[_Resource, ...]


class _Statement(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1)]
    predicateType: Literal["https://model_signing/signature/v1.0"]  # noqa: N815 - the format's own spelling
    predicate: _Predicate


class SignedList(_Strict):
    """What a signature file says it covers.

    Attributes:
        key_id: The key it names.
        package_id: The bundle it names.
        sha256: Relative path -> digest of every file it covers.
    """

    key_id: str
    package_id: str
    sha256: dict[str, str]


def read_envelope(data: bytes) -> SignedList:
    """Read what a signature file says it covers.

    Raises:
        ValueError: It is not one model-signing signature over whole files with nothing ignored.
    """
    try:
        envelope = _Envelope.model_validate_json(data)
        if envelope.model_dump_json().encode() != data:
            raise ValueError("it was rewritten after it was signed")
        payload = _decode(envelope.dsseEnvelope.payload)
        _decode(envelope.dsseEnvelope.signatures[0].sig)
        statement = _Statement.model_validate(strict_json.values(payload))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"not what model-signing writes ({type(error).__name__})") from error
    names = [item.name for item in statement.predicate.resources]
    if len({unicodedata.normalize("NFC", name).casefold() for name in names}) != len(names):
        raise ValueError("it covers two files under one name, or under two that differ in case alone")
    return SignedList(
        key_id=envelope.verificationMaterial.publicKey.hint,
        package_id=statement.subject[0].name,
        sha256={item.name: item.digest for item in statement.predicate.resources},
    )


def _decode(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:  # bits that nobody reads could differ
        raise ValueError("it was rewritten after it was signed")
    return data
