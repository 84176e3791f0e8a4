"""The command line as people and machines meet it: real programs, real exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from platform_lib.cli import COMMANDS

HEAVY = {"torch", "ray", "numpy", "pyarrow", "pandas", "polars", "duckdb", "lance", "mlflow", "onnx", "onnxruntime"}
HEAVY |= {"cv2", "asammdf", "sqlalchemy", "pyiceberg", "boto3", "cdktn", "model_signing", "psutil", "git"}

# Runs the real main() with one planted command that raises what it is told to.
PLANTED = """
import sys, types
from platform_lib import cli, errors
from platform_lib.options import JsonOption
module = types.ModuleType("platform_lib.planted")
def planted(as_json: JsonOption = False) -> None:
    {body}
module.planted = planted
sys.modules["platform_lib.planted"] = module
cli.COMMANDS["planted"] = cli.Entry({module!r}, "planted", "Planted.", "Start here", "edge")
sys.argv = ["drivetrain", *{arguments!r}]
cli.main()
"""


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "platform_lib.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200", **environment}
    )


def _planted(body: str, *arguments: str, module: str = "platform_lib.planted") -> subprocess.CompletedProcess[str]:
    program = PLANTED.format(body=body, module=module, arguments=[*(arguments or ("planted",))])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_help_names_every_command_with_its_help() -> None:
    done = _run("--help")
    assert done.returncode == 0
    for name, entry in COMMANDS.items():
        assert re.search(rf"^\W+{name}\s+{re.escape(entry.help)}", done.stdout, re.MULTILINE), name


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys\nsys.argv = ['drivetrain', *{arguments!r}]\nfrom platform_lib import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "typer" in loaded, "the list of loaded modules was read"
    assert loaded & HEAVY == set()


def test_version() -> None:
    assert re.fullmatch(r"drivetrain \d+\.\d+\.\d+\n", _run("--version").stdout)


def test_no_command_shows_the_help_and_is_no_success() -> None:
    done = _run()
    assert done.returncode == 2
    assert "Start here" in done.stdout + done.stderr


@pytest.mark.parametrize(("typed", "meant"), [("ingset", "ingest"), ("verfy", "verify"), ("drive", "drives")])
def test_a_misspelt_command_is_told_what_was_meant(typed: str, meant: str) -> None:
    done = _run(typed)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"No such command '{typed}'" in done.stderr
    assert f"'{meant}'" in done.stderr


def test_a_misspelt_command_like_none_gets_no_suggestion() -> None:
    done = _run("zzzzzz")
    assert done.returncode == 2
    assert "Did you mean" not in done.stderr


REFUSAL = "raise errors.CorruptLog('cut short [/x]', where='a.mf4', remedy='copy it again')"


def test_a_refusal_ends_with_one_message_and_status_1() -> None:
    done = _planted(REFUSAL)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error cut short [/x]\n  where:  a.mf4\n  remedy: copy it again\n"


def test_a_refusal_for_machines_is_one_json_document() -> None:
    done = _planted(REFUSAL, "planted", "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    expected = {"kind": "CorruptLog", "what": "cut short [/x]", "where": "a.mf4", "remedy": "copy it again"}
    assert json.loads(done.stdout) == {"error": expected}


def test_a_command_that_refuses_its_home_says_so_in_json() -> None:
    done = _run("doctor", "--home", "/dev/null", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ready_for_demo"] is False


def test_a_missing_extra_names_the_package_and_the_remedy() -> None:
    for body, module in [("import not_installed_anywhere", "platform_lib.planted"), ("pass", "not_installed_anywhere")]:
        done = _planted(body, module=module)
        assert done.returncode == 1
        assert "the Python package 'not_installed_anywhere' is not installed" in done.stderr
        assert "'.[edge]'" in done.stderr
        assert "drivetrain doctor" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_missing_module_of_our_own_is_no_missing_extra() -> None:
    done = _planted("import platform_lib.no_such_module")
    assert done.returncode == 1
    assert "a defect of drivetrain itself" in done.stderr
    assert "pip install" not in done.stderr


def test_what_the_system_refuses_is_said_with_its_place() -> None:
    done = _planted("open('/no/such/file')")
    assert done.returncode == 1
    assert done.stderr == "error No such file or directory\n  where:  /no/such/file\n  remedy: check the name\n"


def test_a_defect_asks_for_the_traceback_and_verbose_shows_it() -> None:
    done = _planted("raise ValueError('planted')")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ValueError: planted" in done.stderr
    assert "--verbose" in done.stderr
    assert "Traceback" in _planted("raise ValueError('planted')", "--verbose", "planted").stderr


def test_an_interrupt_ends_with_status_130() -> None:
    done = _planted("raise KeyboardInterrupt")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"]])
def test_a_full_disk_under_the_output_is_no_success_and_no_traceback(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "platform_lib.cli", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["doctor --json", "nothing --json", "verify /absent --json"])
def test_a_closed_output_is_no_success_and_no_traceback(arguments: str) -> None:
    command = ["bash", "-c", f"{sys.executable} -m platform_lib.cli {arguments} >&-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_a_limit_beyond_any_table_is_a_wrong_command_line() -> None:
    done = _run("query", "SELECT 1", "--limit", "9" * 20)
    assert done.returncode == 2
    assert "defect" not in done.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m platform_lib.cli doctor | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_the_completion_script_can_be_shown() -> None:
    script = subprocess.run(
        ["bash", "-c", "drivetrain --show-completion"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SHELL": "/bin/bash"},
    ).stdout
    assert "complete -o default -F _drivetrain_completion drivetrain" in script


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("drivetrain ", set(COMMANDS)),
        ("drivetrain do", {"doctor"}),
        ("drivetrain d", {"demo", "doctor", "drives", "dataset"}),
        ("drivetrain doctor --de", {"--deep"}),
        ("drivetrain zz", set()),
    ],
)
def test_bash_completes_names_and_options(line: str, expected: set[str]) -> None:
    words = line.split()
    count = len(words) if line.endswith(" ") else len(words) - 1
    command = str(Path(sys.executable).parent / "drivetrain")
    done = subprocess.run(
        [command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_DRIVETRAIN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(count)},
    )
    assert set(done.stdout.split()) == expected
    assert done.stderr == ""
