from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from platform_lib.console import plain_line
from platform_lib.table import Column, layout

COLUMNS = (Column("stream"), Column("rows", right=True), Column("content"))
ROWS = (("/imu", "2000", "sensor_msgs/msg/Imu"), ("/camera/front/image", "7", ""))


def test_what_fits_stands_side_by_side() -> None:
    assert layout(COLUMNS, ROWS, width=60) == [
        "stream               rows  content",
        "/imu                 2000  sensor_msgs/msg/Imu",
        "/camera/front/image     7",
    ]


def test_what_does_not_fit_follows_below_its_row_with_its_title() -> None:
    assert layout(COLUMNS, ROWS, width=40) == [
        "stream               rows  content",
        "/imu                 2000",
        "    content: sensor_msgs/msg/Imu",
        "/camera/front/image     7",
    ]
    assert layout(COLUMNS, ROWS, width=20) == [
        "stream",
        "/imu",
        "    rows: 2000",
        "    content: sensor_msgs/msg/Imu",
        "/camera/front/image",
        "    rows: 7",
    ]


def test_one_long_name_does_not_push_the_other_rows_aside() -> None:
    long = "/a" * 50
    rows = ((long, "1", "x"), ("/b", "2", "y"))
    assert layout(COLUMNS, rows, width=100) == [
        f"{'stream':64}  rows  content",
        long,
        f"{'':64}     1  x",
        f"{'/b':64}     2  y",
    ]
    assert layout(COLUMNS, rows, width=None)[1:] == [f"{long}     1  x", f"{'/b':64}     2  y"]


def test_a_name_cannot_steer_the_terminal() -> None:
    assert plain_line("a\x1b[31mb\nc\u202ed\x9b") == "a\\x1b[31mb\\nc\\u202ed\\x9b"
    assert plain_line("Münchener Straße 中") == "Münchener Straße 中"


def test_an_empty_table_is_its_head() -> None:
    assert layout(COLUMNS, (), width=80) == ["stream  rows  content"]


@given(
    rows=st.lists(st.tuples(*[st.text(max_size=90)] * 3), max_size=5),
    width=st.none() | st.integers(min_value=0, max_value=200),
)
def test_nothing_is_ever_cut_off_or_padded_at_the_end(rows: list[tuple[str, str, str]], width: int | None) -> None:
    lines = layout(COLUMNS, rows, width=width)
    text = "\n".join(lines)
    for row in rows:
        for cell in row:
            assert plain_line(cell).strip(" ") in text or plain_line(cell).rstrip() in text
    if width is None:
        assert len(lines) == 1 + len(rows)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_terminal_gets_lines_that_fit(width: int) -> None:
    words = [("/camera/front/image/compressed", "1,000", "2 m"), ("/odom", "20", "nav_msgs")]
    assert all(cell_len(line) <= width for line in layout(COLUMNS, words, width=width))


def test_a_terminal_is_asked_for_its_width_and_a_pipe_is_not() -> None:
    program = (
        "from platform_lib.table import Column, print_table\n"
        "print_table([Column('a'), Column('b')], [['x' * 30, 'y' * 30]])"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm", "NO_COLOR": "1"}
    piped = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert piped == f"{'a':30}  b\n{'x' * 30}  {'y' * 30}\n"
    leader, follower = pty.openpty()
    subprocess.run(command, stdout=follower, check=True, env=environment)
    os.close(follower)
    shown = os.read(leader, 4096).decode().replace("\r", "")
    os.close(leader)
    assert f"{'x' * 30}\n    b: {'y' * 30}\n" in shown
