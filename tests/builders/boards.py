"""A compile as it lies on the disk, and a board that is reached by a stand-in of ssh or adb on PATH."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_compile.arrays import save_arrays
from edge_compile.samples import samples_sha256
from platform_lib.evidence import CompiledPrecision, CompileReport, Interval, Performance, write_evidence
from platform_lib.manifest import Input, Step
from platform_lib.storage import sha256_file

SAMPLES = 10
# What the stand-in board runs: the emulator's answers with a little noise, as another build of the same arithmetic gives them.
BOARD_PROGRAM = """
import json, pathlib, numpy as np
kit = json.loads(pathlib.Path("kit.json").read_text())
answers = np.load({answers!r})
rng = np.random.default_rng(3)
for index in range(kit["samples"]):
    folder = pathlib.Path("outputs") / f"Result_{{index}}"
    folder.mkdir(parents=True)
    for item in kit["outputs"]:
        values = answers["tensor:" + item["name"]][index]
        values = values + {noise} * rng.normal(size=values.shape)
        (folder / item["file"]).write_bytes(values.astype("<f4").tobytes())
pathlib.Path("timings_us.txt").write_text("".join(f"{{100 + i % 7}}\\n" for i in range(50)))
pathlib.Path("tools.json").write_text(json.dumps({{"onnxruntime": "1.0-of-the-board"}}))
"""
SSH = """#!/bin/sh
printf '%s\\n' "$@" '--end--' >>"$BOARD/calls"
[ -e "$BOARD/offline" ] && {{ echo 'ssh: connect to host board port 22: No route to host' >&2; exit 255; }}
for last; do :; done
PATH="$BOARD/bin:$PATH" exec sh -c "$last"
"""
ADB = """#!/bin/sh
printf '%s\\n' "$@" '--end--' >>"$BOARD/calls"
[ "$1" = -s ] && shift 2
case "$1" in
  shell) PATH="$BOARD/bin:$PATH" sh -c "$2"; exit 0;;  # an old board: its status is lost
  push) exec cp -r "$2" "$3";;
  pull) exec cp -r "$2" "$3";;
esac
exit 1
"""


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@dataclass(frozen=True)
class Compiled:
    folder: Path
    frozen: dict[str, np.ndarray]


@dataclass(frozen=True)
class Board:
    """A stand-in board: a folder that its commands run in, and what was asked of it."""

    folder: Path
    compiled: Compiled

    def calls(self) -> list[list[str]]:
        text = (self.folder / "calls").read_text() if (self.folder / "calls").exists() else ""
        return [part.strip("\n").split("\n") for part in text.split("--end--\n") if part]

    def machine(self, name: str, *, boot_id: str = "another-boot") -> None:
        executable(self.folder / "bin" / "uname", f'#!/bin/sh\n[ "$1" = -m ] && echo {name} || exec /bin/uname "$@"\n')
        cat = f'#!/bin/sh\ncase "$1" in */boot_id) echo {boot_id};; *) exec /bin/cat "$@";; esac\n'
        executable(self.folder / "bin" / "cat", cat)

    def command(self, *, noise: float = 1e-4) -> str:
        answers = str(self.compiled.folder / "w8a16.target.npz")
        path = self.folder / "program.py"
        path.write_text(BOARD_PROGRAM.format(answers=answers, noise=noise))
        return f"{sys.executable} {path}"


def _context(path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("EPContext", ["x"], ["a/y"], domain="com.microsoft")],
        "context",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("a/y", TensorProto.FLOAT, [1, 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def _precision(name: str) -> CompiledPrecision:
    return CompiledPrecision(
        precision=name,
        qdq=None,
        encodings=None,
        context=(f"{name}.ctx.onnx", f"{name}.ctx_qnn.bin"),
        context_bytes=4,
        graph=None,
        performance=Performance(
            measured_on="simulator",
            latency_us=Interval(value=90.0, low=80.0, high=99.0),
            ddr_read_bytes=None,
            ddr_write_bytes=None,
        ),
        checks=(),
    )


def write_compile(folder: Path) -> Compiled:
    """Write what `compile` leaves, as far as the door to a board reads it."""
    rng = np.random.default_rng(0)
    frozen = {"x": rng.normal(size=(SAMPLES + 2, 1, 4)).astype(np.float32)}
    folder.mkdir()
    for name in ("fp16", "w8a16"):
        _context(folder / f"{name}.ctx.onnx")
        (folder / f"{name}.ctx_qnn.bin").write_bytes(name.encode())
        save_arrays(folder / f"{name}.target.npz", {"a/y": rng.normal(size=(SAMPLES, 1, 3)).astype(np.float32)})
    report = CompileReport(
        model_name="m",
        onnx_sha256="0" * 64,
        target="sa8255p",
        soc_model=52,
        architecture="v73",
        id_confirmed=True,
        tools={},
        chosen="w8a16",
        precisions=(_precision("fp16"), _precision("w8a16")),
        parity=(),
        digests={item.name: sha256_file(item) for item in sorted(folder.iterdir())},
    )
    write_evidence(folder / "report.json", report)
    (folder / "report.html").write_text("page")
    step = Step(
        "compile",
        inputs={"frozen": Input(sha256=samples_sha256(frozen), uri="frozen")},
        config={},
        modules=("edge_compile.arrays",),
    )
    step.finish(folder / "manifest.json", {item.name: item for item in folder.iterdir()})
    return Compiled(folder, frozen)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
