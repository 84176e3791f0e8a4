from __future__ import annotations

from pathlib import Path

import pytest

from edge_compile.targets.doors import door_target
from edge_compile.targets.table import find_target, targets
from platform_lib.errors import ConfigError, MissingPartError


@pytest.mark.parametrize(
    ("name", "soc_model", "architecture"),
    [
        ("sa8255p", 52, "v73"),
        ("sa8295p", 39, "v68"),
        ("sa8540p", 62, "v68"),
        ("sa8797p", 72, "v81"),
        ("qcs9100", 77, "v73"),
        ("sm8650", 57, "v75"),
    ],
)
def test_confirmed_targets(name: str, soc_model: int, architecture: str) -> None:
    target = find_target(name)
    assert (target.soc_model, target.architecture, target.confirmed) == (soc_model, architecture, True)


@pytest.mark.parametrize("name", ["sa8650p", "sa8775p"])
def test_a_guessed_id_has_to_be_accepted(name: str) -> None:
    with pytest.raises(ConfigError, match="unconfirmed") as caught:
        find_target(name)
    assert "--accept-unconfirmed" in str(caught.value.remedy)
    assert not find_target(name, accept_unconfirmed=True).confirmed


def test_every_guess_says_what_it_rests_on() -> None:
    assert all(item.confirmed or item.note for item in targets().values())


@pytest.mark.parametrize("name", ["sa9999p", "", "52", "SA8255P; rm"])
def test_an_unknown_target_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown target") as caught:
        find_target(name)
    assert all(known in str(caught.value.remedy) for known in targets())
    assert caught.value.where == "--target, --also"


# Makers whose compilers are not in the package index


@pytest.mark.parametrize(
    ("name", "tool", "capabilities"),
    [("orin", "trtexec", ("8.7",)), ("Thor-U", "trtexec", ("10.1", "11.0")), ("aic100", "qaic-exec", ())],
)
def test_each_maker_has_its_compiler(name: str, tool: str, capabilities: tuple[str, ...]) -> None:
    found = door_target(name)
    assert found is not None
    assert (found.door.tool, found.capabilities) == (tool, capabilities)
    assert found.door.missing.startswith(f"{tool} is not available here: install ")


@pytest.mark.parametrize("name", ["sa8255p", "", "rtx", "or"])
def test_no_other_name_is_one_of_theirs(name: str) -> None:
    assert door_target(name) is None


def test_one_of_theirs_shares_no_binary() -> None:
    with pytest.raises(ConfigError, match="shares no binary"):
        find_target("orin")


def test_case_does_not_matter() -> None:
    assert find_target("SA8255P").name == "sa8255p"


# Targets of somebody's own

ROW = "{soc_model: 88, architecture: v81, confirmed: true, note: read on our board}"


def test_a_file_adds_targets_and_the_report_will_say_so(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"targets:\n  Our-Chip: {ROW}\n  guess: {ROW.replace('true', 'false')}\n")
    found = find_target("OUR-CHIP", file=path)
    assert (found.name, found.soc_model, found.architecture) == ("our-chip", 88, "v81")
    assert (found.confirmed, found.origin, found.note) == (True, "own.yaml", "read on our board")
    assert find_target("sa8255p", file=path).origin is None
    with pytest.raises(ConfigError, match="is unconfirmed: 88 is a guess") as caught:
        find_target("guess", file=path)
    assert caught.value.where == "own.yaml"
    with pytest.raises(ConfigError, match="unknown target 'other'") as caught:
        find_target("other", file=path)
    assert "our-chip" in str(caught.value.remedy)
    with pytest.raises(ConfigError, match="unknown target"):
        find_target("our-chip")


BAD = {
    "not YAML": ("targets: {a: ", "not YAML"),
    "bytes": (b"\xff\xfe\x00", "not YAML"),
    "empty": ("", "holds no targets"),
    "a list": ("- targets", "holds no targets"),
    "no targets": ("targets: {}", "holds no targets"),
    "another key": (f"targets: {{a: {ROW}}}\nextra: 1", "holds no targets"),
    "a word": ("targets: {a: fast}", "is not soc_model, architecture"),
    "an origin": ("targets: {a: {origin: here}}", "is not soc_model, architecture"),
    "misspelt": (f"targets: {{a: {ROW.replace('confirmed', 'confirmd')}}}", "confirm"),
    "no id": (f"targets: {{a: {ROW.replace('soc_model: 88, ', '')}}}", "soc_model"),
    "id 0": (f"targets: {{a: {ROW.replace('88', '0')}}}", "soc_model"),
    "id as text": ("targets: {a: " + ROW.replace("88", "'88'") + "}", "soc_model"),
    "id of a name": (f"targets: {{a: {ROW.replace('88', 'SA8255')}}}", "soc_model"),
    "another generation": (f"targets: {{a: {ROW.replace('v81', 'v99')}}}", "architecture"),
    "confirmed as text": ("targets: {a: " + ROW.replace("true", "'yes'") + "}", "confirmed"),
    "no note": (f"targets: {{a: {ROW.replace(', note: read on our board', '')}}}", "where its id comes from"),
    "twice": (f"targets:\n  a: {ROW}\n  a: {ROW}", "'a' is there twice"),
    "the product's": (f"targets: {{sa8255p: {ROW}}}", "the product's own table"),
    "another maker's": (f"targets: {{orin: {ROW}}}", "the product's own table"),
    "no name": (f"targets: {{'../a': {ROW}}}", "name"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_of_targets_is_refused_with_its_place(fault: str, tmp_path: Path) -> None:
    text, words = BAD[fault]
    path = tmp_path / "own.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=words) as caught:
        find_target("a", file=path)
    assert str(path) in str(caught.value.where)
    assert caught.value.remedy


def test_a_missing_file_of_targets_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="no such file of targets"):
        find_target("a", file=tmp_path / "none.yaml")
