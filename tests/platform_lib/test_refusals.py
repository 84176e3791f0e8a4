from __future__ import annotations

import errno
import os
import subprocess
import sys
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


def test_a_copy_that_does_not_fit_names_what_was_written(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS):
        refused = refused_by_system(OSError(code, "refused", str(source), None, str(copy)), where="the command")
        assert refused.where == str(copy)
        assert "check that this place" not in str(refused.remedy)
    read = refused_by_system(OSError(errno.EIO, "refused", str(source), None, str(copy)), where="the command")
    assert read.where == str(source)


def test_a_real_copy_beyond_the_limit_names_the_copy(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(100_000))
    code = (
        "import resource, shutil, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "from platform_lib.refusals import refused_by_system\n"
        "try: shutil.copyfile(*sys.argv[1:])\n"
        "except OSError as error: print(refused_by_system(error, where='').where)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, source, copy], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.strip() == str(copy)
