"""The two kinds of External Secrets that clusters have, as their API's types say them, since their definitions are not at hand.

Source: external-secrets, apis/externalsecrets/v1: externalsecret_types.go, secretstore_types.go and secretstore_aws_types.go, and the
chart's values, read 2026-11-30. Names, types and permitted words alone; what is not used here (other providers, generators,
`dataFrom`) is left out, so that using it fails until it was read too.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": r"^[-._a-zA-Z0-9]+$"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
# Go's durations.
_DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$"}


def _one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _closed(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": list(required)} if required else found


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(spec: Schema) -> Schema:
    return _closed(
        ("apiVersion", "kind", "metadata", "spec"), apiVersion=_TEXT, kind=_TEXT, metadata={"type": "object"}, spec=spec
    )


_AWS = _closed(
    ("region", "service"),
    service=_one_of("SecretsManager", "ParameterStore"),
    region=_TEXT,
    role=_TEXT,
    externalID=_TEXT,
    additionalRoles=_list(_TEXT),
    transitiveTagKeys=_list(_TEXT),
    sessionTags=_list(_closed(("key", "value"), key=_TEXT, value=_TEXT)),
    prefix=_TEXT,
)
_REMOTE = _closed(
    ("key",),
    key=_TEXT,
    property=_TEXT,
    version=_TEXT,
    metadataPolicy=_one_of("None", "Fetch"),
    conversionStrategy=_one_of("Default", "Unicode"),
    decodingStrategy=_one_of("Auto", "Base64", "Base64URL", "None"),
)
_TEMPLATE = _closed(
    engineVersion=_one_of("v2"),
    mergePolicy=_one_of("Replace", "Merge"),
    type=_TEXT,
    metadata=_closed(labels=_TEXTS, annotations=_TEXTS),
    data=_TEXTS,
)
SCHEMAS: dict[tuple[str, str], Schema] = {
    ("external-secrets.io/v1", "ClusterSecretStore"): _object(
        _closed(
            ("provider",),
            controller=_TEXT,
            refreshInterval={"type": "integer"},  # seconds, other than an ExternalSecret's
            # Exactly one provider.
            provider={**_closed(aws=_AWS), "minProperties": 1, "maxProperties": 1},
        )
    ),
    ("external-secrets.io/v1", "ExternalSecret"): _object(
        _closed(
            refreshPolicy=_one_of("CreatedOnce", "Periodic", "OnChange"),
            refreshInterval=_DURATION,
            secretStoreRef=_closed(name=_NAME, kind=_one_of("SecretStore", "ClusterSecretStore")),
            target=_closed(
                name=_NAME,
                creationPolicy=_one_of("Owner", "Orphan", "Merge", "None"),
                deletionPolicy=_one_of("Delete", "Merge", "Retain"),
                immutable={"type": "boolean"},
                template=_TEMPLATE,
            ),
            data=_list(_closed(("remoteRef", "secretKey"), secretKey=_KEY, remoteRef=_REMOTE)),
        )
    ),
}
