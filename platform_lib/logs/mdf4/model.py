"""The nouns of an MDF 4 file: data group, channel group, channel, conversion, fragment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from platform_lib.errors import CorruptLog


class ChannelKind(IntEnum):
    """cn_type. Source: ASAM MDF 4.2 (0-6), 4.3 (7)."""

    VALUE = 0
    VLSD = 1
    MASTER = 2
    VIRTUAL_MASTER = 3
    SYNC = 4
    MLSD = 5
    VIRTUAL = 6
    VLSC = 7


class DataType(IntEnum):
    """cn_data_type. Source: ASAM MDF 4.2; 17 is of MDF 4.3."""

    UNSIGNED_LE = 0
    UNSIGNED_BE = 1
    SIGNED_LE = 2
    SIGNED_BE = 3
    FLOAT_LE = 4
    FLOAT_BE = 5
    LATIN_1 = 6
    UTF_8 = 7
    UTF_16_LE = 8
    UTF_16_BE = 9
    BYTES = 10
    MIME_SAMPLE = 11
    MIME_STREAM = 12
    CANOPEN_DATE = 13
    CANOPEN_TIME = 14
    COMPLEX_LE = 15
    COMPLEX_BE = 16
    BOM_TEXT = 17


# Where a channel's bytes are in the record (a VLSD channel's are its offset).
IN_RECORD = frozenset(
    {ChannelKind.VALUE, ChannelKind.VLSD, ChannelKind.MASTER, ChannelKind.SYNC, ChannelKind.MLSD, ChannelKind.VLSC}
)
MASTERS = frozenset({ChannelKind.MASTER, ChannelKind.VIRTUAL_MASTER})
ENCODINGS = {
    DataType.LATIN_1: "latin-1",
    DataType.UTF_8: "utf-8",
    DataType.UTF_16_LE: "utf-16-le",
    DataType.UTF_16_BE: "utf-16-be",
}
BYTE_TYPES = frozenset({DataType.BYTES, DataType.MIME_SAMPLE, DataType.MIME_STREAM})


class GroupFlag(IntEnum):
    """cg_flags. Source: ASAM MDF 4.2."""

    VLSD = 1
    BUS_EVENT = 2
    REMOTE_MASTER = 8


class ChannelFlag(IntEnum):
    """cn_flags. Source: ASAM MDF 4.2."""

    ALL_INVALID = 1
    INVALIDATION_BIT = 2


class Codec(Enum):
    """How a fragment's bytes are stored."""

    NONE = "none"
    DEFLATE = "deflate"
    ZSTD = "zstd"
    LZ4 = "lz4"
    ZERO = "zero"  # nothing is stored: all bytes are zero


@dataclass(frozen=True, slots=True)
class Conversion:
    """A CC block. Its references are texts or conversions.

    Attributes:
        kind: cc_type, see `platform_lib.logs.mdf4.conversions`.
        name: Its name, the prefix of a bit field's part.
        unit: Of the physical value, ``""`` for none; else the first unit among its references.
        values: Its parameters; 64-bit masks for a bit field.
        references: Texts, conversions, or ``None`` for no link.
    """

    kind: int
    name: str
    unit: str
    values: tuple[float, ...]
    references: tuple[str | Conversion | None, ...]


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """The CA blocks of a channel.

    Attributes:
        sizes: Elements along each dimension.
        byte_steps: Bytes from one element to the next, along each dimension.
        invalid_steps: The same for invalidation bits.
        unsupported: Why the array is not read, ``""`` if it is.
    """

    sizes: tuple[int, ...]
    byte_steps: tuple[int, ...]
    invalid_steps: tuple[int, ...]
    unsupported: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """A CN block.

    Attributes:
        offset: Where its block is.
        name: Its name.
        kind: cn_type.
        sync: cn_sync_type.
        data_type: cn_data_type.
        bit_offset: First bit in its first byte.
        byte_offset: First byte in the record.
        bit_count: How many bits.
        flags: cn_flags.
        invalid_bit: Its bit among the record's invalidation bits.
        unit: ``""`` for none.
        comment: ``""`` for none.
        conversion: ``None`` for none.
        data_link: Signal data, attachment or size channel; 0 for none.
        array: Its dimensions, ``None`` for a single value.
        structure: Whether it only holds other channels, which are channels of the group themselves.
    """

    offset: int
    name: str
    kind: int
    sync: int
    data_type: int
    bit_offset: int
    byte_offset: int
    bit_count: int
    flags: int
    invalid_bit: int
    unit: str
    comment: str
    conversion: Conversion | None
    data_link: int
    array: ArrayShape | None
    structure: bool


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """A CG block.

    Attributes:
        offset: Where its block is.
        index: Its number in the file; helper groups of variable-length data count too.
        record_id: Of its records.
        cycles: Declared records.
        flags: cg_flags.
        data_bytes: Of a record, without id and invalidation bytes; of all records of a VLSD group.
        invalid_bytes: Invalidation bytes of a record.
        name: Acquisition name.
        comment: ``""`` for none.
        channels: Depth first, parents before their parts.
        master_link: The group whose time it uses, 0 for its own.
    """

    offset: int
    index: int
    record_id: int
    cycles: int
    flags: int
    data_bytes: int
    invalid_bytes: int
    name: str
    comment: str
    channels: tuple[Channel, ...]
    master_link: int

    @property
    def variable(self) -> bool:
        """Whether it only carries another group's variable-length values."""
        return bool(self.flags & GroupFlag.VLSD)

    @property
    def record_bytes(self) -> int:
        """Bytes of a record, with invalidation bytes, without id."""
        return self.data_bytes + self.invalid_bytes


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a data stream.

    Attributes:
        offset: Where its stored bytes are.
        stored_bytes: How many.
        size_bytes: How many they are when inflated.
        codec: How they are stored.
        columns: For transposed data, the bytes of a row; 0 for data in order.
    """

    offset: int
    stored_bytes: int
    size_bytes: int
    codec: Codec
    columns: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """A data stream: its fragments in order.

    Attributes:
        fragments: In order.
        size_bytes: Of all of them, inflated.
        broken: Why it ends early, ``None`` if it does not (only when recovering).
    """

    fragments: tuple[Fragment, ...]
    size_bytes: int
    broken: CorruptLog | None = None


EMPTY_CHAIN = Chain((), 0)


@dataclass(frozen=True, slots=True)
class DataGroup:
    """A DG block and its data.

    Attributes:
        offset: Where its block is.
        id_bytes: Bytes of a record id: 0, 1, 2, 4 or 8.
        groups: Its channel groups.
        data: Its records.
        invalidation: The invalidation bytes of column-oriented storage, one piece a piece of `data`; ``None`` in a
            piece's place where all values are valid, and ``None`` where the records carry their own.
        columnar: Whether invalidation bytes are apart from the records.
    """

    offset: int
    id_bytes: int
    groups: tuple[ChannelGroup, ...]
    data: Chain
    invalidation: tuple[Fragment | None, ...] = ()
    columnar: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """The HD block: start time, its flags, and the comment."""

    start_ns: int
    time_flags: int
    comment: str
    first_dg: int
    first_history: int
    first_attachment: int
    first_event: int
