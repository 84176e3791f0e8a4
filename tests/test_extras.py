"""Each extra's packages do one small real thing together: what `pip check` cannot see shows here."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from platform_lib.doctor.packages import installed_version, normalise, read_pins, read_requirements

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


# `make install` leaves it to teams that run Pulumi; it needs a newer pip.
CHOSEN = "pulumi"


def test_an_extra_that_is_chosen_is_pinned_and_no_other_version_is_installed() -> None:
    pins = read_pins(ROOT / "constraints.txt")
    names = read_requirements(ROOT)[CHOSEN]
    assert names
    for name in names:
        assert installed_version(name) in {None, pins[normalise(name)]}


@pytest.mark.parametrize("extra", ["base", *(item for item in EXTRAS if item != CHOSEN)])
def test_every_package_of_an_extra_is_installed_at_its_pinned_version(extra: str) -> None:
    pins = read_pins(ROOT / "constraints.txt")
    names = read_requirements(ROOT)[extra]
    assert {name: installed_version(name) for name in names} == {name: pins[normalise(name)] for name in names}


# --- data -------------------------------------------------------------------------------------------------------


def _mdf(folder: Path) -> None:
    import numpy as np
    from asammdf import MDF, Signal

    with MDF(version="4.10") as mdf:
        mdf.append([Signal(np.arange(4.0), np.arange(4.0), unit="m/s", name="speed")])
        mdf.save(folder / "a.mf4", compression=1)
    with MDF(folder / "a.mf4") as mdf:
        assert mdf.get("speed").unit == "m/s"


def _mcap(folder: Path) -> None:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory
    from mcap_ros2.writer import Writer

    with (folder / "a.mcap").open("wb") as stream:
        writer = Writer(stream)
        schema = writer.register_msgdef("std_msgs/msg/UInt8", "uint8 data")
        writer.write_message("/route/command", schema, {"data": 2}, log_time=5, publish_time=4)
        writer.finish()
    with (folder / "a.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        found = [(message.log_time, value.data) for _, _, message, value in reader.iter_decoded_messages()]
    assert found == [(5, 2)]


def _bus(folder: Path) -> None:
    import cantools

    text = 'VERSION ""\nBU_:\nBO_ 100 Wheel: 8 Vector__XXX\n SG_ speed : 0|16@1+ (0.01,0) [0|655] "km/h" Vector__XXX\n'
    (folder / "a.dbc").write_text(text)
    database = cantools.database.load_file(folder / "a.dbc")
    assert database.decode_message(100, database.encode_message("Wheel", {"speed": 12.5}))["speed"] == 12.5


def _rosbag(folder: Path) -> None:
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    message = store.types["std_msgs/msg/UInt8"](data=7)
    payload = store.serialize_cdr(message, "std_msgs/msg/UInt8")
    assert store.deserialize_cdr(payload, "std_msgs/msg/UInt8").data == 7


def _tables(folder: Path) -> None:
    import duckdb
    import lance
    import pyarrow as pa

    table = pa.table({"timestamp_ns": [3, 1, 2], "value": [0.5, None, 1.5]})
    lance.write_dataset(table, folder / "a.lance")
    again = lance.dataset(folder / "a.lance").to_table()
    assert again.equals(table)
    assert duckdb.connect().execute("select count(value) from again").fetchone() == (2,)


def _codecs(folder: Path) -> None:
    import lz4.frame
    import zstandard

    data = b"drive" * 1000
    assert lz4.frame.decompress(lz4.frame.compress(data)) == data
    assert zstandard.ZstdDecompressor().decompress(zstandard.ZstdCompressor().compress(data)) == data
    del folder


def _pictures(folder: Path) -> None:
    import cv2
    import numpy as np

    ok, jpeg = cv2.imencode(".jpg", np.full((8, 8, 3), 128, np.uint8))
    assert ok
    assert abs(int(cv2.imdecode(jpeg, cv2.IMREAD_COLOR).mean()) - 128) <= 1
    assert Path(cv2.data.haarcascades, "haarcascade_frontalface_default.xml").is_file()
    assert hasattr(cv2, "CascadeClassifier")
    del folder


def _catalogue(folder: Path) -> None:
    import psycopg
    from alembic.util import template_to_file
    from pyiceberg.schema import Schema
    from pyiceberg.types import LongType, NestedField
    from sqlalchemy import create_engine

    assert create_engine("postgresql+psycopg://nobody@localhost/none").dialect.driver == "psycopg"
    assert psycopg.pq.__impl__ == "binary"
    assert Schema(NestedField(1, "timestamp_ns", LongType(), required=True)).as_arrow().names == ["timestamp_ns"]
    assert callable(template_to_file)
    del folder


DATA: tuple[Callable[[Path], None], ...] = (
    _mdf, _mcap, _bus, _rosbag, _tables, _codecs, _pictures, _catalogue
)  # fmt: skip


@pytest.mark.parametrize("check", DATA, ids=lambda check: check.__name__.strip("_"))
@pytest.mark.filterwarnings("default")  # what third parties warn about while they load is not what is asked here
def test_data(check: Callable[[Path], None], tmp_path: Path) -> None:
    check(tmp_path)


# --- the others, each in a process of its own: they are heavy, and must not meet in one -----------------------------

TRAIN = """
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt, mlflow, ray.train, torch
from ray.train.torch import TorchTrainer
layer = torch.nn.Linear(3, 1)
layer(torch.ones(2, 3)).sum().backward()
assert layer.weight.grad.tolist() == [[2.0, 2.0, 2.0]]
plt.figure().savefig("figure.png")
assert mlflow.MlflowClient and TorchTrainer
"""
EDGE = """
import json, numpy as np, onnx, onnxruntime as ort, onnxruntime_qnn, torch
import aimet_onnx, jsonschema, cyclonedx
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType
node = helper.make_node("Relu", ["x"], ["y"])
value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])
graph = helper.make_graph([node], "g", [value("x")], [value("y")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.checker.check_model(model)
x = np.array([[-1, 0, 1, 2]], np.float32)
y = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
assert y.tolist() == [[0, 0, 1, 2]] == torch.relu(torch.from_numpy(x)).tolist()
sim = aimet_onnx.QuantizationSimModel(model, param_type="int8", activation_type="int16")
assert sim is not None and jsonschema.Draft202012Validator({"type": "object"}).is_valid(json.loads("{}"))
"""
INFRA = """
import json, sys
from pathlib import Path
from cdktn import App, TerraformStack
from cdktn_provider_aws.provider import AwsProvider
from cdktn_provider_aws.s3_bucket import S3Bucket
app = App(outdir="out")
stack = TerraformStack(app, "one")
AwsProvider(stack, "aws", region="eu-central-1")
S3Bucket(stack, "lake", bucket="lake", tags={"team": "data"})
app.synth()
document = json.loads(Path("out/stacks/one/cdk.tf.json").read_text())
(bucket,) = document["resource"]["aws_s3_bucket"].values()
assert bucket["bucket"] == "lake" and bucket["tags"] == {"team": "data"}
import boto3, kubernetes.client
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
try:
    host, port = server.get_host_and_port()
    s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
                      aws_access_key_id="test", aws_secret_access_key="test")
    s3.create_bucket(Bucket="lake")
    assert [item["Name"] for item in s3.list_buckets()["Buckets"]] == ["lake"]
finally:
    server.stop()
assert kubernetes.client.V1Pod(metadata=kubernetes.client.V1ObjectMeta(name="a")).metadata.name == "a"
"""

PROGRAMS = {"train": TRAIN, "edge": EDGE, "infra": INFRA}


@pytest.mark.slow
@pytest.mark.parametrize("extra", sorted(PROGRAMS))
def test_heavy(extra: str, tmp_path: Path) -> None:
    if extra == "infra" and shutil.which("node") is None:
        pytest.skip("node is not on PATH: the typed AWS constructs run on it")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[extra]],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("tool", ["hypothesis", "pytest_timeout", "xdist", "importlinter"])
def test_dev(tool: str) -> None:
    assert importlib.import_module(tool)


@pytest.mark.parametrize("tool", ["ruff", "mypy", "deptry", "lint-imports", "vulture"])
def test_dev_tools_answer(tool: str) -> None:
    done = subprocess.run([str(Path(sys.executable).parent / tool), "--help"], capture_output=True, check=False)
    assert done.returncode == 0
