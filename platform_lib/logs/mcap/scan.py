"""Opening an MCAP file: the walk over its data section that says what the file holds, and proves it.

Where a complete summary with a sound checksum says what each chunk holds, chunks stay closed until their rows are asked
for: the walk proves that chunks, and nothing unknown between them, fill the data section. Any other file is read from
end to end, each chunk opened, each message seen, and compared with whatever summary there is. So is every file that is
to be recovered (what is returned of it was read once already), and every small one.
"""

from __future__ import annotations

import numpy as np
from isal import isal_zlib

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import translated
from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.chunks import MOST_CHUNK_BYTES, Records, read_records
from platform_lib.logs.mcap.comparing import contradictions
from platform_lib.logs.mcap.copies import settle_copies
from platform_lib.logs.mcap.extent_reader import ExtentReader, prove_messages
from platform_lib.logs.mcap.extent_table import Extent
from platform_lib.logs.mcap.layout import AttachmentPlace, Channel, Definitions, Layout
from platform_lib.logs.mcap.lookahead import Lookahead
from platform_lib.logs.mcap.records import Op
from platform_lib.logs.mcap.spans import spans_from_message_index
from platform_lib.logs.mcap.summary import Summary, damaged, read_summary
from platform_lib.logs.model import Report, add_metadata

SMALL_BYTES = 16 << 20
"""Reading so little twice costs some milliseconds, and damage is found before the first row is given out."""

_MOST_RUN_BYTES = 8 << 20
_FIRST_RUN_BYTES = 4 << 10
_REMOTE_AHEAD_BYTES = 8 << 20
_ATTACHMENT_HEAD_BYTES = 4 << 10
_MOST_DEFINITION_BYTES = 64 << 20
_NOT_THERE = "a chunk that the summary lists is not there, or differs"


class _OutsideChunksError(Exception):
    """Messages lie outside chunks, where no index lists them."""


def scan(source: ByteSource, report: Report, *, recover: bool, small_bytes: int = SMALL_BYTES) -> Layout:
    """Return what the file holds; damage and what is unverified goes into `report`.

    Args:
        source: The file.
        report: Told what was found.
        recover: Skip damage instead of raising.
        small_bytes: Local files up to this size are read from end to end in any case.

    Raises:
        CorruptLog: The file contradicts its format or itself; with `recover`, only if nothing of it is usable.
        UnsupportedLog: A compression that is not read (with `recover` such chunks are left out).
    """
    view = Lookahead(source)
    if source.read_at(0, min(source.size_bytes, len(rec.MAGIC))) != rec.MAGIC:
        raise damaged(source.name, 0, "the first bytes are not MCAP's")
    summary: Summary | None = None
    try:
        with translated(source.name, "reading the summary"):
            summary = read_summary(view)
    except CorruptLog as error:
        if not recover:
            raise
        report.lose(0, error.what)
    small = source.size_bytes <= small_bytes and not source.remote
    if summary is not None and summary.complete and not recover and not small:
        try:
            return _Scan(view, summary, report, recover=False, listed=True).run()
        except _OutsideChunksError:
            pass
    if source.remote:
        view.ahead_bytes = _REMOTE_AHEAD_BYTES
    return _Scan(view, summary, report, recover=recover, listed=False).run()


class _Scan:
    """One walk. Damage raises, or with `recover` is skipped and noted."""

    def __init__(
        self,
        view: Lookahead,
        summary: Summary | None,
        report: Report,
        *,
        recover: bool,
        listed: bool,
    ) -> None:
        """`listed`: the summary is believed about what its chunks hold; otherwise every chunk is opened."""
        self._view = view
        self._source = view.source
        self._name = view.source.name
        self._summary = summary
        self._report = report
        self._recover = recover
        self._listed = listed
        self._layout = Layout(Definitions(self._name))
        self._rank = 0  # of the next chunk that the summary lists
        if listed and summary is not None:
            self._layout.extents = summary.chunks
        self._reader = ExtentReader(view.source, self._layout.definitions)
        self._run_bytes = _FIRST_RUN_BYTES
        self._data_crc_ok: bool | None = None
        # A file that was merely cut is right up to the cut. In one whose end is there, but damaged, bytes were changed,
        # and no message without a checksum of its own can be vouched for.
        self._suspect = summary is None and _ends_with_magic(view)

    def run(self) -> Layout:
        definitions = self._layout.definitions
        if self._summary is not None and self._listed:
            definitions.schemas.update(self._summary.schemas)
            definitions.channels.update(self._summary.channels)
        elif self._summary is not None and self._recover:
            definitions.spare_schemas.update(self._summary.schemas)
            definitions.spare_channels.update(self._summary.channels)
        reached_end = self._data_section()
        if self._listed and self._summary is not None:
            self._believe(self._summary)
        elif reached_end and self._summary is not None:
            for what in contradictions(self._summary, self._layout):
                self._damage(self._summary.start, 0, what)
        if self._layout.unknown_ops and (self._summary is None or self._summary.statistics is None):
            self._damage(0, 0, "records of an unknown kind, and no statistics that say what should be there")
        self._drop_unproven()
        if self._recover and self._report.recovered:
            if settle_copies(self._source, self._layout.extents, self._summary, self._report):
                self._recount()
        self._note_unverified()
        return self._layout

    # -- damage --------------------------------------------------------------------------------------------------

    def _damage(self, offset: int, lost_bytes: int, what: str) -> None:
        error = damaged(self._name, offset, what)
        if not self._recover:
            raise error
        self._report.lose(lost_bytes, error.what)

    # -- the walk ------------------------------------------------------------------------------------------------

    def _record_head(self, offset: int, limit: int) -> tuple[int, int]:
        """Return opcode and content length of the record at `offset`, which must end by `limit`."""
        header = rec.RECORD_HEADER.size
        if offset + header > limit:
            raise damaged(self._name, offset, "the file ends inside a record's head")
        op, length = rec.RECORD_HEADER.unpack(self._view.read(offset, header))
        if op == 0 or length > limit - offset - header:
            what = f"a record (kind 0x{op:02x}) claims {length} bytes, more than are left"
            raise damaged(self._name, offset, what)
        return int(op), int(length)

    def _data_section(self) -> bool:
        """Walk the data section; return whether its end was reached."""
        limit = self._source.size_bytes if self._summary is None else self._summary.start
        at: int | None = len(rec.MAGIC)
        while at is not None:
            try:
                following = self._step(at, limit)
                if following is None:
                    return True
                at = following
            except CorruptLog as error:
                if not self._recover:
                    raise
                at = self._resume(at, limit, error)
        return False

    def _step(self, at: int, limit: int) -> int | None:
        """Take in what begins at `at`; return where the next begins, or ``None`` after the end-of-data record."""
        if self._listed and (following := self._listed_chunk(at)) is not None:
            return following
        op, length = self._record_head(at, limit)
        if at == len(rec.MAGIC) and op != Op.HEADER:
            raise damaged(self._name, at, "the header record is missing")
        following = at + rec.RECORD_HEADER.size + length
        if op == Op.MESSAGE:
            return self._run(at, length, limit)
        self._run_bytes = _FIRST_RUN_BYTES
        if op == Op.DATA_END:
            self._data_end(at, length)
            if following != limit:
                self._damage(following, 0, self._behind_the_data(limit - following))
            return None
        if op == Op.CHUNK:
            self._chunk(at, rec.RECORD_HEADER.size + length)
        else:
            with translated(self._name, f"reading the record at byte {at}"):
                self._other_record(op, at + rec.RECORD_HEADER.size, length)
        return following

    def _behind_the_data(self, count: int) -> str:
        if self._summary is None:
            return f"the {count} bytes behind the messages, where the summary lies, were not used"
        return f"{count} bytes lie between the data and the summary"

    def _resume(self, at: int, limit: int, error: CorruptLog) -> int | None:
        """After damage at `at` find where to go on: the next chunk that a sound summary names, else nowhere."""
        summary = self._summary
        kept = 0
        if summary is None and not self._suspect:
            kept = self._rest_of_cut_chunk(at, limit)
            self._drop_torn(at)
        else:
            self._suspect = True
        following = summary.chunk_after(at) if summary is not None and summary.checked else None
        self._report.lose((following or limit) - at - kept, error.what)
        return following

    def _rest_of_cut_chunk(self, at: int, limit: int) -> int:
        """Keep the whole messages of an uncompressed chunk that the file's end cuts; return their bytes."""
        try:
            head = self._view.read(at, min(rec.CHUNK_HEAD_MOST, limit - at))
            chunk, _ = rec.parse_chunk_head(head, at)
            begin = at + chunk.record_bytes - chunk.stored_bytes
            if head[0] != Op.CHUNK or chunk.compression or begin >= limit or limit - begin > MOST_CHUNK_BYTES:
                return 0
            records = read_records(self._source.read_at(begin, limit - begin), cut=True)
            self._layout.definitions.add_all(records)
            self._add_run(begin, records)
        except (CorruptLog, IndexError):
            return 0
        return records.whole_bytes

    def _drop_torn(self, at: int) -> None:
        """Forget the last message before `at` where zeros follow: they may begin inside it."""
        last = self._layout.extents[len(self._layout.extents) - 1] if len(self._layout.extents) else None
        if last is None or last.chunk is not None or last.offset + last.record_bytes != at:
            return
        if at >= self._source.size_bytes or self._view.read(at - 1, 2) != b"\0\0":
            return
        self._layout.extents.pop()
        records = self._reader.read(last)
        keep = int(records.message_at[-1])
        self._report.lose(last.record_bytes - keep, f"the message before byte {at} may be torn; dropped")
        self._recount()
        if keep:
            self._add_run(last.offset, read_records(memoryview(records.data)[:keep]))

    # -- what is found -------------------------------------------------------------------------------------------

    def _listed_chunk(self, at: int) -> int | None:
        """Take the summary's word for what a chunk holds; of a local file, look at the chunk's own head too.

        Returns:
            Where its message indexes end; ``None`` if the summary lists no chunk at `at`.
        """
        extents = self._layout.extents
        chunk = extents[self._rank].chunk if self._rank < len(extents) else None
        if chunk is None or chunk.offset != at:
            return None
        if not self._source.remote:
            count = min(rec.CHUNK_HEAD_MOST, chunk.record_bytes)
            found, crc = rec.parse_chunk_head(self._source.read_at(chunk.offset, count), chunk.offset)
            if found != chunk:
                raise damaged(self._name, chunk.offset, _NOT_THERE)
            extents.set_checked(self._rank, checked=crc != 0)
        self._rank += 1
        return at + chunk.record_bytes + extents.index_bytes(self._rank - 1)

    def _chunk(self, at: int, record_bytes: int) -> None:
        if self._listed:
            raise damaged(self._name, at, "a chunk that the summary does not list")
        try:
            with translated(self._name, f"reading the chunk at byte {at}"):
                head = self._view.read(at, min(rec.CHUNK_HEAD_MOST, record_bytes))
                chunk, crc = rec.parse_chunk_head(head, at)
            extent = Extent.of_chunk(chunk, checked=crc != 0)
            records = self._reader.read_proven(extent, self._stored(extent))
        except (CorruptLog, UnsupportedLog) as error:
            if not self._recover:
                raise
            self._report.lose(record_bytes, error.what)
            return
        self._layout.extents.add(extent, self._count(records))

    def _stored(self, extent: Extent) -> memoryview | None:
        """Return a remote extent's bytes out of the large pieces that are fetched anyway."""
        if not self._source.remote:
            return None
        return memoryview(self._view.read(extent.offset, extent.record_bytes))

    def _run(self, at: int, length: int, limit: int) -> int:
        """Take in a run of messages outside chunks; return where it ends."""
        if self._listed:
            raise _OutsideChunksError
        first = rec.RECORD_HEADER.size + length
        if first > MOST_CHUNK_BYTES:
            raise UnsupportedLog(f"a message of {length} bytes; at most {MOST_CHUNK_BYTES} are read at once")
        count = min(limit - at, max(first, self._run_bytes))
        self._run_bytes = min(2 * count, _MOST_RUN_BYTES)
        records = read_records(self._view.read(at, count), cut=True).leading_messages()
        if not records.whole_bytes:  # zeros follow within the block: the message may be torn, `_drop_torn` decides
            records = read_records(self._view.read(at, first))
        if records.whole_bytes < first:
            raise damaged(self._name, at, "a message is shorter than its fields")
        self._add_run(at, records)
        return at + records.whole_bytes

    def _add_run(self, at: int, records: Records) -> None:
        size, (start, stop) = records.whole_bytes, records.span_ns
        extent = Extent(at, size, None, start, stop, size, checked=False)
        prove_messages(self._name, [extent], records, np.array([records.message_at.size]))
        self._layout.definitions.require(np.unique(records.heads["channel"]).tolist())
        self._layout.extents.add(extent, self._count(records))

    def _count(self, records: Records) -> list[int]:
        """Count the messages of each channel; return the channels."""
        numbers, times = records.heads["channel"], records.heads["log_time"]
        found: list[int] = np.unique(numbers).tolist()
        for number in found:
            mine = times[numbers == number]
            self._layout.channels.setdefault(number, Channel()).add(mine.size, int(mine.min()), int(mine.max()))
        return found

    def _other_record(self, op: int, body: int, length: int) -> None:
        layout = self._layout
        if op in (Op.SCHEMA, Op.CHANNEL, Op.METADATA) and length > _MOST_DEFINITION_BYTES:
            raise damaged(self._name, body, f"a definition of {length} bytes")
        if op in (Op.SCHEMA, Op.CHANNEL):
            layout.definitions.add_record(op, self._view.read(body, length))
        elif op == Op.METADATA:
            name, values = rec.parse_metadata(self._view.read(body, length))
            add_metadata(layout.metadata.setdefault(name, {}), values)
            layout.metadata_records += 1
        elif op == Op.ATTACHMENT:
            self._attachment(body, length)
        elif op not in rec.KNOWN_OPS and op < rec.FIRST_PRIVATE_OP:
            layout.unknown_ops += 1

    def _attachment(self, body: int, length: int) -> None:
        try:
            head = rec.parse_attachment_head(self._view.read(body, min(length, _ATTACHMENT_HEAD_BYTES)))
        except CorruptLog:  # a name or type of kilobytes
            if length > _MOST_DEFINITION_BYTES:
                raise
            head = rec.parse_attachment_head(self._view.read(body, length))
        place = AttachmentPlace(head, body, length)
        if head.data_at + head.size_bytes + 4 != length:
            raise damaged(self._name, body, "an attachment's content is not as long as its record")
        self._layout.attachments.append(place)
        if not self._listed:
            try:
                check_attachment(self._source, place)
            except CorruptLog as error:
                self._layout.attachments.pop()
                self._damage(body, length, error.what)

    # -- the end -------------------------------------------------------------------------------------------------

    def _data_end(self, at: int, length: int) -> None:
        if length < 4:
            raise damaged(self._name, at, "the end-of-data record is too short")
        crc = int.from_bytes(self._view.read(at + rec.RECORD_HEADER.size, 4), "little")
        if not crc:
            return
        if self._source.remote:
            self._report.unverified.append("the data section's checksum, which needs the whole file, was not verified")
            return
        self._data_crc_ok = crc_of(self._source, 0, at) == crc
        if not self._data_crc_ok:
            self._damage(at, 0, "the data section's checksum does not match its bytes")

    def _believe(self, summary: Summary) -> None:
        """Take channels' counts and spans from a complete summary, whose every chunk the walk has met."""
        if self._rank < len(summary.chunks):
            raise damaged(self._name, summary.chunks[self._rank].offset, _NOT_THERE)
        said = summary.statistics
        if said is None:
            return
        found = (len(self._layout.attachments), self._layout.metadata_records)
        if found != (said.attachments, said.metadata):
            what = f"the recorder counted {said.attachments} attachments and {said.metadata} metadata records"
            raise damaged(self._name, summary.start, f"{what}, the file holds {found[0]} and {found[1]}")
        with translated(self._name, "reading the message indexes"):
            spans = spans_from_message_index(self._view, summary)
        for number, count in said.by_channel.items():
            if count:
                self._layout.channels[number] = Channel(count, *spans[number])

    def _drop_unproven(self) -> None:
        """With `recover`, where bytes are known to be wrong: keep only chunks whose own checksum holds."""
        if not self._recover or self._data_crc_ok or (self._data_crc_ok is None and not self._suspect):
            return
        extents = self._layout.extents
        sound = extents.checked() == 1
        if sound.all():
            return
        lost = int(extents.column("record_bytes")[~sound].sum())
        self._report.lose(lost, "messages that no checksum of their own vouches for were dropped")
        extents.keep(np.flatnonzero(sound))
        self._recount()

    def _recount(self) -> None:
        """Count anew after extents were dropped."""
        self._layout.channels.clear()
        for extent in self._layout.extents:
            self._count(self._reader.read(extent))

    def _note_unverified(self) -> None:
        notes = self._report.unverified
        if self._data_crc_ok:
            return
        chunks = self._layout.extents.chunks()
        unchecked = int((chunks & (self._layout.extents.checked() == 0)).sum())
        if unchecked:
            notes.append("1 chunk has no checksum" if unchecked == 1 else f"{unchecked} chunks have no checksum")
        if not chunks.all():
            notes.append("messages outside chunks have no checksum")
        if self._layout.metadata:
            notes.append("metadata records have no checksum")
        if self._summary is not None and not self._summary.checked and len(self._summary.chunks):
            notes.append("the summary has no checksum")


def _ends_with_magic(view: Lookahead) -> bool:
    size = view.source.size_bytes
    return size > 2 * len(rec.MAGIC) and view.read(size - len(rec.MAGIC), len(rec.MAGIC)) == rec.MAGIC


def crc_of(source: ByteSource, start: int, stop: int) -> int:
    """Return the CRC-32 of a part of the file, read in pieces."""
    crc, stage = 0, memoryview(bytearray(1 << 20))
    for at in range(start, stop, len(stage)):
        piece = stage[: min(len(stage), stop - at)]
        source.read_into(at, piece)
        crc = isal_zlib.crc32(piece, crc)
    return crc


def check_attachment(source: ByteSource, place: AttachmentPlace) -> None:
    """Check an attachment's own checksum (0: it has none).

    Raises:
        CorruptLog: It does not match.
    """
    covered = place.offset + place.record_bytes - 4
    crc = int.from_bytes(source.read_at(covered, 4), "little")
    if crc and crc_of(source, place.offset, covered) != crc:
        raise CorruptLog(f"the checksum of attachment '{place.head.name}' does not match its bytes", where=source.name)
