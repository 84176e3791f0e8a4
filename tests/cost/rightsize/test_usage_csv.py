from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from usage_laws import law_fleet

from cost.report.proposals import ProposalFile
from cost.rightsize.model import ContainerKey, Usage
from cost.rightsize.usage_csv import read_usage
from platform_lib.cli import run
from platform_lib.errors import ConfigError

HEAD = "timestamp,namespace,workload,container,pod,cpu_cores,memory_bytes,oom_kills\n"


def write_usage(path: Path, fleet: list[Usage]) -> Path:
    with path.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(HEAD.strip().split(","))
        for usage in fleet:
            key = usage.key
            for at, (cores, held) in enumerate(zip(usage.cpu_cores, usage.memory_bytes, strict=True)):
                time_s = usage.start_utc_s + at * usage.step_s
                rows.writerow(
                    [time_s, key.namespace, key.workload, key.container, "", f"{cores:.6g}", f"{held:.0f}", ""]
                )
    return path


def test_rows_of_several_pods_keep_the_busiest(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(
        HEAD
        + "2026-11-02T00:00:00Z,a,Deployment/x,main,x-1,0.5,100,\n"
        + "1793577600,a,Deployment/x,main,x-2,0.75,90,1\n"
        + "2026-11-02T00:10:00,a,Deployment/x,main,x-1,,300,\n"
        + "2026-11-02T00:10:00,a,Deployment/x,main,x-2,NaN,200,\n"
    )
    found = read_usage(path, step_s=300)
    assert found.broken.total == 0
    (usage,) = found.usages
    assert usage.key == ContainerKey("a", "Deployment/x", "main")
    np.testing.assert_array_equal(usage.cpu_cores, np.asarray([0.75, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(usage.memory_bytes, np.asarray([100, np.nan, 300], np.float32))
    assert usage.oom_kills_utc_s == (1793577600.0,)


def test_broken_rows_are_counted_and_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    whole = [f"{at * 300},a,Deployment/x,main,,0.5,100,\n" for at in range(100)]
    broken = ["yesterday,a,Deployment/x,main,,1,1,\n", "300,a,,main,,1,1,\n", "300,a,Deployment/x,main,,-1,1,\n"]
    path.write_text(HEAD + "".join([*whole, *broken]))
    found = read_usage(path).broken
    assert found.counts == {"no time": 1, "no name": 1, "no number": 1}
    assert found.first == {"no time": ("line 102",), "no name": ("line 103",), "no number": ("line 104",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "columns are missing: timestamp"),
        ("timestamp,namespace\n1,a\n", "columns are missing: workload"),
        (HEAD, "no row of 0 has a time"),
        (HEAD + "0,a,b,c,,x,y,\n" * 3, "3 of 3 rows are broken: 3 of no number (line 2, line 3, line 4)"),
    ],
)
def test_what_is_no_usage_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_usage(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Remedy: columns: timestamp" in str(caught.value)


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(HEAD + "0,a,b,c,,1,1,\n3000,a,b,d,,1,1,\n")
    assert len(read_usage(path, step_s=300, most_cells=22).usages) == 2
    with pytest.raises(ConfigError, match="more than the 21 cells"):
        read_usage(path, step_s=300, most_cells=21)


def test_the_command_recommends_and_writes_patches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usage = write_usage(tmp_path / "usage.csv", law_fleet(4, weeks=4, laws=("diurnal", "idle", "growing"), step_s=3600))
    base = ["cost", "rightsize", "requests", "--usage", str(usage), "--step", "3600", "--throttled-chance", "0.1"]
    assert run([*base, "--oom-chance", "0.1", "--patches", str(tmp_path / "patches"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["containers"]) == 12
    assert all(item["cpu"]["recommended"] > 0 and item["memory"]["recommended"] > 0 for item in told["containers"])
    assert told["patches"]["workloads"] == 12
    script = (tmp_path / "patches" / "apply.sh").read_text()
    assert script.count("kubectl -n laws patch deployment ") == 12
    patch = yaml.safe_load((tmp_path / "patches" / "laws.deployment.idle-0.yaml").read_text())
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "main"
    assert container["resources"]["limits"] == {"memory": container["resources"]["requests"]["memory"]}


def test_the_command_refuses_what_the_history_cannot_bear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usage = write_usage(tmp_path / "usage.csv", law_fleet(1, weeks=2, laws=("diurnal",), step_s=3600))
    assert run(["cost", "rightsize", "requests", "--usage", str(usage), "--step", "3600"]) == 0
    shown = capsys.readouterr()
    assert "refused" in shown.out
    assert "history too short: 14.0 days" in shown.err
    assert "3 whole weeks are needed" in shown.err


def test_the_command_without_usage_says_what_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["cost", "rightsize", "requests"])
    assert ended.value.code == 2
    assert "name one: --usage FILE or --prometheus URL" in capsys.readouterr().err


def deployment_of(name: str, *, cpu: str, limit: str | None = None) -> dict[str, object]:
    limits = {"memory": "64Gi", **({"cpu": limit} if limit else {})}
    container = {"name": "main", "resources": {"requests": {"cpu": cpu, "memory": "8Gi"}, "limits": limits}}
    spec = {"replicas": 4, "template": {"spec": {"containers": [container]}}}
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": "laws"}, "spec": spec}


def test_the_command_prices_what_it_saves_and_proposes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usage = write_usage(tmp_path / "usage.csv", law_fleet(12, weeks=4, laws=("idle",), step_s=3600))
    workloads = tmp_path / "workloads.json"
    items = [
        deployment_of(f"idle-{number}", cpu="3", limit="0.000001" if number == 0 else None) for number in range(12)
    ]
    workloads.write_text(json.dumps({"items": items}))
    out = tmp_path / "proposals.json"
    command = ["cost", "rightsize", "requests", "--usage", str(usage), "--step", "3600", "--workloads", str(workloads)]
    risk = ["--throttled-chance", "0.1", "--oom-chance", "0.1"]
    more = ["--node-type", "m7i.xlarge", "--patches", str(tmp_path / "patches"), "--proposals", str(out)]
    assert run([*command, *risk, *more]) == 0
    shown = capsys.readouterr()
    assert "48 nodes of m7i.xlarge become" in shown.out
    assert "refused, CPU: at its CPU limit" in shown.err
    made, refused = ProposalFile.model_validate_json(out.read_text()).proposals
    assert made.command == f"sh {tmp_path}/patches/apply.sh"
    assert made.saves_usd.expected is not None
    assert made.saves_usd.expected > 0
    assert "calibrated on held-out weeks" in made.certainty
    assert refused.refused is not None
    assert refused.title == "requests of 1 containers, first laws/Deployment/idle-0/main"
