"""Which decoder reads a topic, and why there is none where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import message_decoder
from platform_lib.logs.schemas.json_fields import json_decoder

# Known to the MCAP registry, but what they mean is in no schema of the file, or nobody here reads it.
_RAW = {
    "flatbuffer": "FlatBuffers messages are not decoded",
    "cbor": "CBOR carries no schema, so its columns have no fixed type",
    "msgpack": "MessagePack carries no schema, so its columns have no fixed type",
}


class TopicDecoder(Protocol):
    """Decodes payloads into columns whose types depend on the schema alone."""

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields, in order."""

    def decode(self, payloads: Payloads, wanted: Sequence[int] | None = None) -> list[pa.Array]:
        """Decode payloads, one message each.

        Args:
            payloads: The messages.
            wanted: Which fields, by number, ascending; all by default.

        Returns:
            One array a wanted field.

        Raises:
            FaultyPayload: A payload contradicts its schema.
        """


def topic_decoder(
    message_encoding: str,
    schema_encoding: str,
    message_type: str | None,
    schema_text: str | None,
    schema_data: bytes | None,
) -> TopicDecoder | str:
    """Return the decoder of a topic's messages, or why there is none.

    Args:
        message_encoding: How payloads are serialised: ``cdr``, ``json``, ``protobuf``, ...
        schema_encoding: How the definition is written: ``ros2msg``, ``jsonschema``, ...; empty without one.
        message_type: The root type.
        schema_text: The definition, where it is text.
        schema_data: The definition as stored.
    """
    try:
        match (message_encoding, schema_encoding):
            case ("cdr", "ros2msg" | "ros2idl" | "omgidl") | ("ros1", "ros1msg"):
                if message_type is None or schema_text is None:
                    return "the log has no message definition for it"
                return message_decoder(message_type, schema_text, schema_encoding)
            case ("json", "jsonschema" | ""):
                return json_decoder(schema_text)
            case ("protobuf", "protobuf"):
                from platform_lib.logs.schemas.protobuf import protobuf_decoder

                if message_type is None or schema_data is None:
                    return "the log has no message definition for it"
                return protobuf_decoder(message_type, schema_data)
            case (encoding, _) if encoding in _RAW:
                return _RAW[encoding]
            case _:
                return f"messages are encoded as {message_encoding!r} with a schema in {schema_encoding!r}"
    except UnsupportedLog as error:
        return error.what
    except RecursionError:
        return "its message definition nests too deep"
