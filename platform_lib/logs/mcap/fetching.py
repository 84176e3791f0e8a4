"""Which byte ranges of a remote file to fetch together, and fetching them ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from platform_lib.logs.bytes_source import ByteSource

Range = tuple[int, int]
_GAP_SHARE = 0.05
_MOST_GROUP_BYTES = 8 << 20
_THREADS = 4


def grouped(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """Group ranges (offset, length) that one request should fetch: close neighbours, in the order given.

    What lies between them is fetched in vain, at most 5% of what is wanted before it.
    """
    group: list[Range] = []
    start = stop = 0
    for offset, length in ranges:
        gap = offset - stop
        if group and 0 <= gap <= _GAP_SHARE * (stop - start) and offset + length - start <= _MOST_GROUP_BYTES:
            group.append((offset, length))
        else:
            if group:
                yield group
            group = [(offset, length)]
            start = offset
        stop = offset + length
    if group:
        yield group


def fetched(source: ByteSource, ranges: Iterable[Range]) -> Iterator[memoryview]:
    """Yield the bytes of each range in order; some requests run ahead, in threads.

    Raises:
        CorruptLog: As `ByteSource.read_at`.
        IntegrityError: The same.
    """
    waiting: deque[tuple[list[Range], Future[bytes]]] = deque()
    groups = grouped(ranges)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:

        def submit() -> None:
            group = next(groups, None)
            if group is not None:
                begin, (last, length) = group[0][0], group[-1]
                waiting.append((group, pool.submit(source.read_at, begin, last + length - begin)))

        try:
            for _ in range(_THREADS):
                submit()
            while waiting:
                group, future = waiting.popleft()
                data = memoryview(future.result())
                submit()
                begin = group[0][0]
                for offset, length in group:
                    yield data[offset - begin : offset - begin + length]
        finally:
            for _, future in waiting:
                future.cancel()
