"""A torch module is exported and compared with torch itself; what is none, or does not fit its samples, is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_compile import compile_module
from edge_compile.worker import Limits
from platform_lib.errors import CompileError, ContractError

torch = pytest.importorskip("torch")
SAMPLES = {"x": np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)}


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.drop = torch.nn.Linear(6, 4), torch.nn.Dropout(0.9)

    def forward(self, x):
        return torch.relu(self.drop(self.linear(x)))


class Unexportable(Net):
    def forward(self, x):
        return torch.linalg.eigh(x.T @ x)[0][None]


@pytest.mark.slow
def test_a_module_is_compiled_and_torch_is_the_first_engine(tmp_path: Path) -> None:
    net = Net().train()
    found = compile_module(
        net, "sa8255p", SAMPLES, tmp_path / "out", precisions=("w8a8",), emulator_samples=2, limits=Limits(time_s=240.0)
    )
    assert net.training
    rungs = {rung.name: rung for rung in found.report.parity if rung.precision == "fp32"}
    assert (rungs["torch->onnx"].status, rungs["torch->onnx"].samples) == ("pass", 8)
    assert (found.report.model_name, found.report.chosen) == ("net", "w8a8")


@pytest.mark.parametrize(
    ("module", "samples", "outputs", "said"),
    [
        ("resnet18", SAMPLES, (), "str is no torch module"),
        (Net(), {}, (), "samples for nothing, and forward takes x"),
        (Net(), {"image": SAMPLES["x"]}, (), "samples for image, and forward takes x"),
        (Net(), {"x": np.float32(1.0)}, (), "samples of differing numbers"),
        (Net(), SAMPLES, ("a", "b"), "2 names for 1 outputs"),
    ],
)
def test_what_does_not_fit_is_refused(module, samples, outputs, said: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=said) as caught:
        compile_module(module, "sa8255p", samples, tmp_path / "out", outputs=outputs)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_what_torch_cannot_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="torch cannot export it"):
        compile_module(Unexportable(), "sa8255p", SAMPLES, tmp_path / "out")
