"""Which byte ranges of a remote file to fetch together, and fetching them ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from platform_lib.logs.bytes_source import ByteSource

Range = tuple[int, int]
_GAP_SHARE = 0.05
_MOST_GROUP_BYTES = 8 << 20
_THREADS = 4


def grouped(ranges: Sequence[Range]) -> list[list[int]]:
    """Group ranges (offset, length) that one request should fetch: close neighbours, in the order given.

    What lies between them is fetched in vain, at most 5% of what is wanted before it.
    """
    groups: list[list[int]] = []
    start = stop = 0
    for number, (offset, length) in enumerate(ranges):
        gap = offset - stop
        if groups and 0 <= gap <= _GAP_SHARE * (stop - start) and offset + length - start <= _MOST_GROUP_BYTES:
            groups[-1].append(number)
        else:
            groups.append([number])
            start = offset
        stop = offset + length
    return groups


def fetched(source: ByteSource, ranges: Sequence[Range]) -> Iterator[memoryview]:
    """Yield the bytes of each range in order; some requests run ahead, in threads.

    Raises:
        CorruptLog: As `ByteSource.read_at`.
        IntegrityError: The same.
    """
    waiting: deque[tuple[list[int], Future[bytes]]] = deque()
    groups = iter(grouped(ranges))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:

        def submit() -> None:
            group = next(groups, None)
            if group is not None:
                begin, (last, length) = ranges[group[0]][0], ranges[group[-1]]
                waiting.append((group, pool.submit(source.read_at, begin, last + length - begin)))

        try:
            for _ in range(_THREADS):
                submit()
            while waiting:
                group, future = waiting.popleft()
                data = memoryview(future.result())
                submit()
                begin = ranges[group[0]][0]
                for offset, length in (ranges[number] for number in group):
                    yield data[offset - begin : offset - begin + length]
        finally:
            for _, future in waiting:
                future.cancel()
