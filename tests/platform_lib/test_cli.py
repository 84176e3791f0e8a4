"""The command line as people and machines meet it: real programs, real exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from platform_lib import cli
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


def test_help_wraps_its_paragraphs_to_the_window_and_names_arguments() -> None:
    shown = _run("dataset", "build", "--help", COLUMNS="300").stdout
    assert "Usage: drivetrain dataset build [OPTIONS] {NAME}" in shown
    assert re.search(r"^ Camera frames are joined .* in the manifest\.\s*$", shown, re.MULTILINE)
    assert "list[" not in _run("log", "info", "--help").stdout


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


def test_a_refusal_always_says_where_and_what_to_do() -> None:
    done = _planted("raise errors.CorruptLog('cut short')", "planted", "--json")
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["where"]) == ("CorruptLog", "drivetrain planted")
    assert "--recover" in error["remedy"]


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
    assert "interrupted" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `dt` is the command; its status is the command's own, whatever it pipes into."""
    script = f'dt() {{ {sys.executable} -m platform_lib.cli "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["doctor", "nothing --json"])
def test_a_full_disk_under_the_output_is_no_success_and_no_traceback(arguments: str) -> None:
    done = _shell(f"dt {arguments} > /dev/full")
    assert done.returncode == 1
    assert "cannot be written (No space left on device)\n  where:  standard output" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["doctor --json", "nothing --json"])
def test_a_closed_output_is_refused_before_anything_runs(arguments: str) -> None:
    done = _shell(f"dt {arguments} >&-")
    assert done.returncode == 1
    assert done.stderr.startswith("error it is closed, so no result can be given\n  where:  standard output\n")


@pytest.mark.parametrize("arguments", ["doctor --json", "--help"])
def test_a_reader_that_goes_away_ends_the_command_quietly(arguments: str) -> None:
    done = _shell(f"dt {arguments} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", "<&-"])
def test_a_standard_error_that_takes_nothing_changes_no_result(redirection: str) -> None:
    done = _shell(f"dt --version {redirection}")
    assert (done.returncode, done.stdout[:10]) == (0, "drivetrain")


def test_a_broken_pipe_inside_a_command_is_no_gone_reader() -> None:
    done = _planted("import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')")
    assert done.returncode == 1
    assert done.stderr.startswith("error Broken pipe\n")


@pytest.mark.parametrize(
    ("arguments", "where", "what"),
    [
        ("nothing", "drivetrain", "No such command 'nothing'"),
        ("", "drivetrain", "No such option: --json"),
        ("doctor --nope", "drivetrain doctor", "No such option: --nope"),
        ("verify", "drivetrain verify", "Missing argument"),
        ("dataset x --seed many", "drivetrain dataset build", "Invalid value for '--seed'"),
        ("log", "drivetrain log", "No such option: --json"),
        ("log info", "drivetrain log info", "Missing argument 'FILE'"),
        ("log nothing", "drivetrain log", "No such command 'nothing'"),
        ("doctor --home", "drivetrain doctor", "requires an argument"),
        ("verify a b", "drivetrain verify", "unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_one_document_for_machines(
    arguments: str, where: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # `--home` takes what follows as its value, so the flag comes first there.
    words = ["doctor", "--json", "--home"] if arguments.endswith("--home") else [*arguments.split(), "--json"]
    assert cli.run(words) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["where"]) == ("UsageError", where)
    assert what in error["what"]
    assert error["remedy"] == f"see `{where} --help`"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["verify", ""], "an argument is empty"),
        (["doctor", "--home", ""], "the value of --home is empty"),
        (["simulate", "--out="], "the value of --out is empty"),
        (["gate", "--evaluation", "", "--out", "x"], "the value of --evaluation is empty"),
        (["log", "info", "--dbc", "", "x.mf4"], "the value of --dbc is empty"),
    ],
)
def test_an_empty_path_does_not_mean_the_current_folder(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    place = f"drivetrain {words[0]} {what[13:-9]}".rstrip() if "--" in what else f"drivetrain {words[0]}"
    assert error.startswith(f"error {what}\n  where:  {place}\n  remedy: give a value")


def test_an_option_is_not_taken_for_the_home(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(["drives", "--home", "--json"])
    assert ended.value.code == 2
    assert json.loads(capsys.readouterr().out)["error"]["what"] == "--home took '--json' as its folder"


def test_what_follows_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(["verify", "--", "--json"])
    captured = capsys.readouterr()
    assert (captured.out, captured.err[:5]) == ("", "error")


def test_a_window_without_a_size_still_shows_everything() -> None:
    assert _run("verify", "/absent", COLUMNS="0").stderr == _run("verify", "/absent", COLUMNS="80").stderr != ""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_what_the_output_cannot_show_is_shown_as_an_escape(encoding: str) -> None:
    done = _shell("dt verify $'/absent/caf\\xff-\u4e2d'", PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    assert "caf\\udcff-" in done.stderr
    assert "defect" not in done.stderr


def test_a_limit_beyond_any_table_is_a_wrong_command_line() -> None:
    done = _run("query", "SELECT 1", "--limit", "9" * 20)
    assert done.returncode == 2
    assert "defect" not in done.stderr


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
        ("drivetrain d", {"demo", "device", "doctor", "drives", "dataset"}),
        ("drivetrain doctor --de", {"--deep"}),
        ("drivetrain zz", set()),
        ("drivetrain log ", {"info", "head", "export"}),
        ("drivetrain log info --re", {"--recover"}),
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
