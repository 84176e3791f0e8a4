"""What each training process uses: measured, written in whole lines, read once."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import torch

from ray_jobs.worker_gauge import GaugeReader, WorkerGauge, gpu_metrics


def test_a_process_that_works_is_seen_to_and_its_memory_is_its_own(tmp_path: Path):
    reader, cpu = GaugeReader(tmp_path), torch.device("cpu")
    assert reader.take() == []
    with WorkerGauge(tmp_path, rank=0, device=cpu), WorkerGauge(tmp_path, rank=1, device=cpu):
        ends = time.process_time() + 0.3
        while time.process_time() < ends:
            pass
    found = dict(item for _, metrics in reader.take() for item in metrics.items())
    assert {name.split("/")[1] for name in found} == {"rank-0", "rank-1"}
    assert found["system/rank-0/process_cpu_cores"] > 0.01
    assert 0.3 < found["system/rank-0/process_memory_bytes"] / psutil.Process().memory_info().rss < 3
    assert found["system/rank-0/node_memory_bytes"] <= psutil.virtual_memory().total
    assert not any("gpu" in name for name in found)
    assert reader.take() == []
    assert gpu_metrics(cpu) == {}


def test_it_measures_all_the_while_and_a_cut_line_costs_itself_alone(tmp_path: Path):
    with WorkerGauge(tmp_path, rank=0, device=torch.device("cpu"), every_s=0.05):
        time.sleep(0.4)
    path = tmp_path / "system-rank-0.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"time_ms": 1, "ra')
    reader = GaugeReader(tmp_path)
    times = [time_ms for time_ms, _ in reader.take()]
    assert len(times) == whole.count(b"\n") >= 2
    assert times == sorted(times)
    path.write_bytes(path.read_bytes() + b"\n" + whole)
    assert len(reader.take()) == len(times), "the cut one is passed over"
