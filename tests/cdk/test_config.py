"""What is no environment is refused before anything is built."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from cdk.config import load_environment
from cdk.model import DataClass
from platform_lib.errors import ConfigError

TODAY = date(2026, 11, 30)
RULES = {
    "Rules": [
        {
            "ID": "large",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "drives/", "ObjectSizeGreaterThan": 131072}},
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 120, "StorageClass": "GLACIER_IR"}],
            "Expiration": {"Days": 400},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
        }
    ],
    "TransitionDefaultMinimumObjectSize": "all_storage_classes_128K",
}


@pytest.mark.parametrize(
    ("old", "new", "line", "remedy"),
    [
        ("tags:\n", "tag:\n", "tag:", "did you mean 'tags'?"),
        ("nat: one", "nats: one", "nats:", "did you mean 'nat'?"),
        ("cost_center: perception", "cost_centre: perception", "cost_centre:", "did you mean 'cost_center'?"),
        ("rto_hours: 4", "rto_hour: 4", "rto_hour", "did you mean 'rto_hours'?"),
        ("admin_role_arns", "admin_roles_arn", "admin_roles_arn", "did you mean 'admin_role_arns'?"),
        ("lock_days: 365,", "lock_day: 365,", "lock_day", "did you mean 'lock_days'?"),
    ],
)
def test_a_misspelt_key_is_refused_with_its_line(
    old: str, new: str, line: str, remedy: str, environments: Path
) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError) as refused:
        load_environment("local", today=TODAY, folder=environments)
    said = str(refused.value)
    number = int(next(item for item in said.split("local.yaml:")[1:] if "is no key" in item).split(":")[0])
    assert line in path.read_text().splitlines()[number - 1]
    assert remedy in said


def test_a_pool_without_a_cost_center_is_refused(environments: Path) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace("    cost_center: perception\n", "", 1))
    with pytest.raises(ConfigError, match=r"local\.yaml:\d+: 'pools\.1\.cost_center' is missing\. Remedy: add it"):
        load_environment("local", today=TODAY, folder=environments)


def test_a_cost_center_that_is_no_label_is_refused(environments: Path) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace("cost_center: perception", "cost_center: two words", 1))
    with pytest.raises(ConfigError, match=r"'pools\.1\.cost_center'.*not 'two words'"):
        load_environment("local", today=TODAY, folder=environments)


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"there is no environment 'prd'.*did you mean prod"):
        load_environment("prd", today=TODAY)


def test_a_file_that_says_another_name_is_refused(environments: Path) -> None:
    (environments / "stage.yaml").write_text((environments / "dev.yaml").read_text())
    with pytest.raises(ConfigError, match=r"stage\.yaml:2: says environment: dev"):
        load_environment("stage", today=TODAY, folder=environments)


def _with_file(environments: Path) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace("derived: {}", "derived: {lifecycle_file: derived.json}", 1))


def test_a_lifecycle_file_decides_a_buckets_rules(environments: Path) -> None:
    _with_file(environments)
    (environments / "derived.json").write_text(json.dumps(RULES))
    environment = load_environment("local", today=TODAY, folder=environments)
    lifecycle = environment.data.buckets[DataClass.DERIVED].lifecycle
    assert lifecycle is not None
    (rule,) = lifecycle.rules
    assert rule.id == "large"
    assert [item.storage_class for item in rule.transitions] == ["STANDARD_IA", "GLACIER_IR"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read: No such file"),
        ("{", "Invalid JSON"),
        (json.dumps({"Rules": []}), "Rules: Tuple should have at least 1 item"),
        (json.dumps({**RULES, "Version": 1}), "Version: Extra inputs are not permitted"),
    ],
)
def test_a_bad_lifecycle_file_is_refused_where_it_is_named(content: str | None, what: str, environments: Path) -> None:
    _with_file(environments)
    if content is not None:
        (environments / "derived.json").write_text(content)
    with pytest.raises(ConfigError, match=what) as refused:
        load_environment("local", today=TODAY, folder=environments)
    number = int(str(refused.value.where).rpartition(":")[2])
    assert "lifecycle_file" in (environments / "local.yaml").read_text().splitlines()[number - 1]
    assert refused.value.remedy == ("write it: " if content is None else "write it anew: ") + "drivetrain cost tiering"


def _moving(*moves: tuple[int, str], **more: object) -> dict[str, object]:
    transitions = [{"Days": day, "StorageClass": name} for day, name in moves]
    return {"ID": "r", "Filter": {"Prefix": "raw/"}, "Transitions": transitions, **more}


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ([_moving((29, "STANDARD_IA"))], "nothing to STANDARD_IA before day 30"),
        ([_moving((30, "STANDARD_IA"), (40, "GLACIER"))], "less than 30 days after STANDARD_IA"),
        ([_moving((0, "GLACIER"), (40, "GLACIER_IR"))], "from GLACIER to GLACIER_IR"),
        ([_moving((90, "GLACIER"), Expiration={"Days": 90})], "expire on day 90"),
        (
            [_moving((1, "GLACIER"), Filter={"And": {"ObjectSizeGreaterThan": 9, "ObjectSizeLessThan": 10}})],
            "larger than 9",
        ),
        ([_moving((1, "GLACIER")), _moving((2, "GLACIER"))], "two rules are called r"),
    ],
)
def test_rules_that_s3_would_refuse_are_refused_before_an_apply(
    rules: list[dict[str, object]], what: str, environments: Path
) -> None:
    _with_file(environments)
    (environments / "derived.json").write_text(
        json.dumps({"Rules": [_moving((0, "INTELLIGENT_TIERING"), (90, "GLACIER_IR"))]})
    )
    load_environment("local", today=TODAY, folder=environments)
    (environments / "derived.json").write_text(json.dumps({"Rules": rules}))
    with pytest.raises(ConfigError, match=what):
        load_environment("local", today=TODAY, folder=environments)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("maximum: 4", f"maximum: {'9' * 5000}", "a value cannot be read"),
        ('expires: "2027-06-30"', "expires: 2027-06-31", "a value cannot be read: day is out of range"),
        ("  owner: platform", "  owner: !foo x", "could not determine a constructor for the tag '!foo'"),
        ("tags:\n", "tags: &a\n  more: *a\n", "aliases"),
        ("tags:\n", "? [a, b]\n: c\ntags:\n", "a key is no text"),
        ("monthly_usd: 100}", "monthly_usd: .inf}", "should be a finite number"),
        ("maximum: 4", "maximum: true", "should be a valid integer, not True"),
        (
            'management: "111111111111"',
            'management: "\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661"',
            "match pattern",
        ),
        ("  owner: platform", '  owner: "a\\nb"', "match pattern"),
        ("  owner: platform", f"  owner: {'a' * 257}", "at most 256 characters"),
        ("alias/drivetrain-state", "alias/${file('/etc/passwd')}", "'state.kms_alias' holds an expression"),
    ],
)
def test_a_value_that_is_none_is_refused_by_a_sentence(old: str, new: str, said: str, environments: Path) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_environment("local", today=TODAY, folder=environments)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 600


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory(environments: Path) -> None:
    path = environments / "local.yaml"
    bombs = "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    path.write_text(f"a: &a [x, x]\n{bombs}{path.read_text()}")
    with pytest.raises(ConfigError, match="aliases"):
        load_environment("local", today=TODAY, folder=environments)


@pytest.mark.parametrize(
    ("old", "new"), [('version: "1.35"', "version: 1.30"), ('expires: "2027-06-30"', "expires: 2027-06-30")]
)
def test_a_text_without_its_quotes_is_told_to_take_them(old: str, new: str, environments: Path) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"must be a text, and is read as (float|date).*put it between quotes"):
        load_environment("local", today=TODAY, folder=environments)


def test_one_mistake_in_a_region_is_one_finding(environments: Path) -> None:
    path = environments / "local.yaml"
    path.write_text(path.read_text().replace("pod_cidr:", "podcidr:", 1))
    with pytest.raises(ConfigError) as refused:
        load_environment("local", today=TODAY, folder=environments)
    assert "'regions.0.ml.podcidr' is no key. Remedy: did you mean 'pod_cidr'?" in str(refused.value)
