from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.logs.stream_names import hint, meant, quoted

NAMES = ["0:Engine_1", "1:Engine_2", "2:Brake", "CAN1/Brake_Status", "/imu", "/front/imu"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1), min_size=20))
def test_a_shell_takes_a_quoted_name_back(names: list[str]) -> None:
    script = "printf '%s\\0' " + " ".join(map(quoted, names))
    shown = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert shown.decode().split("\0")[:-1] == names


def test_a_quoted_name_steers_no_terminal() -> None:
    assert quoted("2:Engine_1") == "2:Engine_1"
    assert quoted("0:a b") == "'0:a b'"
    assert quoted("0:a\n\x1b[2J\\'") == "$'0:a\\x0a\\x1b[2J\\\\\\''"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Engine_1", "0:Engine_1"),
        ("Brake_Status", "CAN1/Brake_Status"),
        ("front/imu", "/front/imu"),
        ("/imu", "/imu"),
        ("imu", "imu"),  # two of them
        ("ngine_1", "ngine_1"),
        ("", ""),
    ],
)
def test_a_name_without_its_number_is_taken_where_only_one_can_be_meant(name: str, expected: str) -> None:
    assert meant(name, NAMES) == expected


def test_what_may_have_been_meant() -> None:
    assert hint("imu", NAMES).startswith("did you mean /imu, /front/imu?")
    assert hint("Engin_1", NAMES).startswith("did you mean 0:Engine_1")
    assert hint("BRAKE_STATUS", NAMES).startswith("did you mean CAN1/Brake_Status?")
    assert hint("", NAMES).startswith("`drivetrain log info` lists them; the first are: 0:Engine_1")
    assert hint("zzz", []) == "the log has no streams"
