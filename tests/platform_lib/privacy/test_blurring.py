"""The detectors on drawn people: found, blurred, counted; and what a detector that sees nothing gives."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from drawn_people import background, face, jpeg, labelled_set, paste
from onnx import TensorProto, helper, numpy_helper

from platform_lib.errors import ConfigError, IntegrityError, MissingPartError
from platform_lib.privacy.blurring import blur_frame
from platform_lib.privacy.config import DEFAULT, BlurConfig, Cascade, Onnx, read_config
from platform_lib.privacy.detectors import make_detectors, provenance
from platform_lib.privacy.labels import LABELS_FILE, measure_recall
from platform_lib.privacy.plain_images import plain_jpeg, plain_png


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_set(tmp_path_factory.mktemp("labels"))


def _graph(path: Path, boxes: list[list[float]], scores: list[float]) -> Path:
    """A detector that finds the same boxes in every picture, after looking at it."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["fixed_boxes", "nothing"], ["boxes"]),
        helper.make_node("Add", ["fixed_scores", "nothing"], ["scores"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        numpy_helper.from_array(np.array(boxes, np.float32).reshape(1, -1, 4), "fixed_boxes"),
        numpy_helper.from_array(np.array(scores, np.float32).reshape(1, -1), "fixed_scores"),
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 32, 64])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("boxes", "scores")]
    graph = helper.make_graph(nodes, "fixed", [picture], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_the_default_cascades_come_with_opencv_and_are_known_by_content() -> None:
    known = provenance(DEFAULT)
    detectors = known.document["detectors"]
    assert isinstance(detectors, list)
    assert len(make_detectors(DEFAULT)) == len(detectors) == 3
    assert all(isinstance(item, dict) and len(str(item["sha256"])) == 64 for item in detectors)
    assert provenance(DEFAULT.model_copy(update={"margin": 0.3})).sha256 != known.sha256


def test_a_drawn_face_is_found_and_cannot_be_made_out_any_more() -> None:
    frame = background(1)[0]
    box = paste(frame, face(48, np.random.default_rng(1)), 60, 50)
    blurred = blur_frame(jpeg(frame), "jpeg", make_detectors(DEFAULT), DEFAULT)
    assert blurred is not None
    assert blurred.regions
    after = cv2.imdecode(np.frombuffer(blurred.data, np.uint8), cv2.IMREAD_COLOR)
    x, y, size = int(box["x_px"]), int(box["y_px"]), 48
    edges = [cv2.Laplacian(item[y : y + size, x : x + size], cv2.CV_64F).var() for item in (frame, after)]
    assert edges[1] < edges[0] / 20
    assert np.abs(after[:, 250:].astype(int) - frame[:, 250:]).mean() < 4  # the rest of the picture stays
    assert blur_frame(blurred.data, "jpeg", make_detectors(DEFAULT)[:1], DEFAULT).regions == ()


def test_an_empty_frame_keeps_its_bytes_and_what_is_no_image_is_not_called_blurred() -> None:
    data = jpeg(background(1)[0])
    blurred = blur_frame(data, "jpeg", make_detectors(DEFAULT), DEFAULT)
    assert blurred is not None
    assert (blurred.data, blurred.regions) == (data, ())
    for broken in (b"", b"\xff\xd8\xff", b"no image at all"):
        assert blur_frame(broken, "jpeg", make_detectors(DEFAULT), DEFAULT) is None


def test_a_second_picture_in_the_file_does_not_come_through(tmp_path: Path) -> None:
    """A frame in which nothing is found may hold a face where no detector looks."""
    empty, frame = background(2)
    paste(frame, face(48, np.random.default_rng(1)), 60, 50)
    hidden, shown = jpeg(frame), jpeg(empty)
    detectors = make_detectors(DEFAULT)
    assert blur_frame(hidden, "jpeg", detectors, DEFAULT).regions
    exif = b"Exif\0\0" + hidden
    comment, behind = b"\xff\xfe" + (len(b"made by x") + 2).to_bytes(2, "big") + b"made by x", shown + hidden
    in_metadata = shown[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + shown[2:]
    for planted in (behind, in_metadata, shown[:2] + comment + shown[2:], shown + b"\0" * 9):
        assert blur_frame(planted, "jpeg", detectors, DEFAULT).data == shown
    png = cv2.imencode(".png", empty)[1].tobytes()
    text = b"tEXt" + hidden
    chunk = len(hidden).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    for planted in (png + hidden, png[:33] + chunk + png[33:], png):
        assert blur_frame(planted, "png", detectors, DEFAULT).data == png
    webp = cv2.imencode(".webp", empty, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert blur_frame(webp + hidden, "unknown", detectors, DEFAULT).encoding == "jpeg"


def test_an_animated_file_is_written_anew(tmp_path: Path) -> None:
    png = cv2.imencode(".png", background(1)[0])[1].tobytes()
    control = b"acTL" + (2).to_bytes(4, "big") + bytes(4)
    animated = png[:33] + (8).to_bytes(4, "big") + control + zlib.crc32(control).to_bytes(4, "big") + png[33:]
    assert plain_png(animated) is None
    assert plain_png(png) == png
    assert plain_png(png[:-20]) is plain_jpeg(png) is plain_png(b"") is None


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
def test_a_frame_that_is_cut_short_is_not_called_blurred(options: list[int]) -> None:
    data = cv2.imencode(".jpg", background(1)[0], options)[1].tobytes()
    assert blur_frame(data, "jpeg", make_detectors(DEFAULT), DEFAULT).data == data
    for stop in (len(data) // 2, len(data) - 3):
        assert blur_frame(data[:stop], "jpeg", make_detectors(DEFAULT), DEFAULT) is None


def test_recall_on_the_drawn_set_has_its_lower_bound_and_says_that_it_is_drawn(labels: Path) -> None:
    found = measure_recall(labels, DEFAULT)
    assert (found.labels_name, found.composed, found.frames) == ("drawn-people", True, 24)
    faces = found.kinds["face"]
    assert faces.recall >= 0.9
    assert 0.75 < faces.lower_bound < faces.recall
    assert 0 < found.kinds["plate"].recall  # what OpenCV's plate cascade gives, and no more is asked of it here
    assert found.config_sha256 == provenance(DEFAULT).sha256


def test_a_blind_detector_has_no_recall(labels: Path, tmp_path: Path) -> None:
    graph = _graph(tmp_path / "blind.onnx", [[0, 0, 10, 10]], [0.01])
    blind = BlurConfig(
        detectors=(Onnx(kind="onnx", finds="face", model=graph, input_px=(64, 32), boxes="boxes", scores="scores"),)
    )
    found = measure_recall(labels, blind)
    assert {kind: (item.blurred, item.lower_bound) for kind, item in found.kinds.items()} == {
        "face": (0, 0.0),
        "plate": (0, 0.0),
    }


def test_any_onnx_detector_runs_by_configuration(tmp_path: Path) -> None:
    _graph(tmp_path / "fixed.onnx", [[8, 4, 16, 8], [8.2, 4, 16, 8], [40, 4, 60, 30]], [0.9, 0.8, 0.1])
    settings = {
        "kind": "onnx",
        "finds": "face",
        "model": "fixed.onnx",
        "input_px": [64, 32],
        "boxes": "boxes",
        "scores": "scores",
    }
    written = tmp_path / "blur.yaml"
    written.write_text(yaml.safe_dump({"schema_version": 1, "margin": 0.0, "detectors": [settings]}))
    config = read_config(written)
    (detector,) = make_detectors(config)
    (box,) = detector.find(np.zeros((320, 640, 3), np.uint8))  # the second overlaps the first, the third scores too low
    assert (box.x_px, box.y_px, box.width_px, box.height_px) == pytest.approx((80, 40, 80, 40))
    blurred = blur_frame(jpeg(background(1)[0]), "jpeg", [detector], config)
    assert blurred is not None
    assert len(blurred.regions) == 1
    before = provenance(config).sha256
    _graph(tmp_path / "fixed.onnx", [[8, 4, 16, 9]], [0.9])
    assert provenance(config).sha256 != before


def test_a_wrong_configuration_is_refused_with_its_place(tmp_path: Path) -> None:
    graph = _graph(tmp_path / "a.onnx", [[0, 0, 1, 1]], [0.5])
    wrong = Onnx(kind="onnx", finds="face", model=graph, input_px=(64, 32), boxes="boxen", scores="scores")
    with pytest.raises(ConfigError, match="no output 'boxen', only boxes, scores"):
        make_detectors(BlurConfig(detectors=(wrong,)))
    with pytest.raises(MissingPartError, match="no such detector"):
        provenance(BlurConfig(detectors=(Cascade(finds="face", cascade="haarcascade_nobody.xml"),)))
    (tmp_path / "no.xml").write_text("<a/>")
    with pytest.raises(ConfigError, match="OpenCV cannot read it"):
        make_detectors(BlurConfig(detectors=(Cascade(finds="face", cascade=str(tmp_path / "no.xml")),)))
    typo = tmp_path / "typo.yaml"
    typo.write_text("schema_version: 1\ndetectors: [{kind: cascade, finds: face, cascade: a, min_neighbours: 3}]\n")
    with pytest.raises(ConfigError, match="min_neighbours"):
        read_config(typo)
    with pytest.raises(MissingPartError):
        read_config(tmp_path / "nowhere.yaml")


def test_a_labelled_set_that_cannot_be_measured_is_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match=LABELS_FILE):
        measure_recall(tmp_path, DEFAULT)
    (tmp_path / LABELS_FILE).write_text((labels / LABELS_FILE).read_text())
    with pytest.raises(MissingPartError, match="not there"):
        measure_recall(tmp_path, DEFAULT)
    (tmp_path / "0.jpg").write_bytes(b"broken")
    with pytest.raises(IntegrityError, match="cannot be decoded"):
        measure_recall(tmp_path, DEFAULT)
    (tmp_path / LABELS_FILE).write_text((labels / LABELS_FILE).read_text().replace("0.jpg", "../0.jpg"))
    with pytest.raises(ConfigError, match="beside its labels"):
        measure_recall(tmp_path, DEFAULT)
