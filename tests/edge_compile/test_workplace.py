from __future__ import annotations

from pathlib import Path

import pytest

from edge_compile.workplace import check_replaceable, open_workplace
from platform_lib.errors import CompileError, ConfigError, HomeBusyError
from platform_lib.manifest import Step


def test_nothing_is_left_after_success(tmp_path: Path) -> None:
    with open_workplace(tmp_path / "out") as workplace:
        assert workplace.scratch.parent == tmp_path
        (workplace.scratch / "side-file").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_log_and_names_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CompileError, match=r"compile-tools\.log") as caught:
        fail_inside(out)
    assert [item.read_text() for item in tmp_path.iterdir()] == ["what the tools said"]
    assert "try again" in str(caught.value.remedy)
    with open_workplace(out):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_compile_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    token = "a" * 12
    (tmp_path / "out").mkdir()
    ours = [tmp_path / f".tmp-{kind}{token}-out" for kind in ("", "old-", "scratch-")]
    # The last is what a compile into a folder called scratch-out has in its hands at this moment.
    others = [tmp_path / name for name in (f".tmp-scratch-{token}-other", ".tmp-mine-out", f".tmp-{token}-scratch-out")]
    for folder in (*ours, *others):
        folder.mkdir()
    file = tmp_path / f".tmp-{token}-out.manifest.json"
    file.touch()
    with open_workplace(tmp_path / "out"):
        assert not any(path.exists() for path in (*ours, file))
    assert all(folder.exists() for folder in others)


def test_a_result_that_was_moved_aside_and_never_replaced_goes_back(tmp_path: Path) -> None:
    aside = tmp_path / f".tmp-old-{'a' * 12}-out"
    aside.mkdir()
    (aside / "manifest.json").write_text("the only copy")
    with open_workplace(tmp_path / "out"):
        assert (tmp_path / "out/manifest.json").read_text() == "the only copy"
    assert not aside.exists()


def test_a_second_compile_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    with open_workplace(tmp_path / "out"):
        with pytest.raises(HomeBusyError, match="another compile"), open_workplace(tmp_path / "out"):
            pass
        with open_workplace(tmp_path / "other"):
            pass
    with open_workplace(tmp_path / "out"):
        pass


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot be made|not writable"), open_workplace(Path("/proc/nowhere/out")):
        pass


def test_only_an_earlier_compile_or_nothing_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_replaceable(out)
    out.mkdir()
    check_replaceable(out)
    step = Step("compile", inputs={}, config={}, modules=())
    step.finish(out / "manifest.json", {})
    check_replaceable(out)


@pytest.mark.parametrize("kind", ["bundle", "run"])
def test_another_steps_result_is_not_replaced(tmp_path: Path, kind: str) -> None:
    Step(kind, inputs={}, config={}, modules=()).finish(tmp_path / "manifest.json", {})
    with pytest.raises(ConfigError, match=f"holds {kind}"):
        check_replaceable(tmp_path)


def test_a_users_own_folder_or_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        check_replaceable(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        check_replaceable(tmp_path / "thesis.tex")


def fail_inside(out: Path) -> None:
    with open_workplace(out) as workplace:
        workplace.log.write_text("what the tools said")
        raise CompileError("it failed", remedy="try again")
