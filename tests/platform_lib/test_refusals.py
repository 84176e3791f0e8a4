from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from platform_lib.refusals import refused_by_system


@pytest.mark.parametrize("code", sorted(errno.errorcode))
def test_every_refusal_says_what_where_and_what_to_do(code: int) -> None:
    error = refused_by_system(OSError(code, os.strerror(code)), where="drivetrain x")
    assert error.what
    assert error.where == "drivetrain x"
    assert error.remedy


def test_the_file_it_names_is_the_place(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as refused:
        tmp_path.read_bytes()
    error = refused_by_system(refused.value, where="drivetrain x")
    assert (error.what, error.where) == ("Is a directory", str(tmp_path))
    assert error.remedy == "name a file: this is a folder"


@pytest.mark.parametrize("name", [None, "", 7])
def test_without_a_file_the_command_is_the_place(name: object) -> None:
    error = OSError(errno.EIO, "Input/output error", name)
    assert refused_by_system(error, where="drivetrain x").where == "drivetrain x"
    assert refused_by_system(OSError("cannot read"), where="drivetrain x").what == "cannot read"
    assert refused_by_system(OSError(errno.ENOENT, "No such file", b"caf\xff"), where="x").where == "caf\udcff"
