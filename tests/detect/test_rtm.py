"""rtmlib behind the protocol, against a small stand-in that has rtmlib's traps."""

import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from poselift.detect import Detector
from poselift.detect.rtm import Rtm
from poselift.errors import (
    DetectorError,
    InputError,
    ShapeError,
    UnknownNameError,
    WeightsError,
)

IMAGE = np.zeros((480, 640, 3), np.uint8)
IMAGE[..., 0] = 200  # red


class Tool:
    made: ClassVar[list["Tool"]] = []
    boxes = ((10, 20, 110, 220),)
    joints = 26
    fails = False

    def __init__(self, onnx_model, model_input_size=(1, 1), backend="opencv", device="cpu"):
        if not onnx_model.startswith("http") and "damaged" in Path(onnx_model).read_text():
            raise RuntimeError("protobuf")
        print(f"load {onnx_model}")
        self.path, self.size, self.backend, self.seen = onnx_model, model_input_size, backend, None
        Tool.made.append(self)


class YOLOX(Tool):
    def __call__(self, image):
        self.seen = image
        if Tool.fails:
            raise ValueError("backend")
        return np.array(Tool.boxes)


class RTMPose(Tool):
    def __call__(self, image, bboxes=()):
        self.seen = image
        if len(bboxes) == 0:  # the trap: no boxes means the whole image
            bboxes = [[0, 0, image.shape[1], image.shape[0]]]
        xy = np.zeros((len(bboxes), Tool.joints, 2))
        xy[:, :, 0], xy[:, :, 1] = np.array(bboxes)[:, :1], np.arange(Tool.joints)
        score = np.full((len(bboxes), Tool.joints), 0.8)
        score[:, 3], score[:, 4] = 1.2, -0.1
        return xy, score


class RTMO(Tool):
    def __call__(self, image):
        self.seen = image
        if not Tool.boxes:  # the trap: nobody is one person of zeros
            return np.zeros((1, 17, 2)), np.zeros((1, 17))
        return np.full((1, 17, 2), 5.0), np.full((1, 17), 0.9)


def solution(name):
    entry = {"det": f"http://{name}/det.zip", "det_input_size": (416, 416)}
    entry |= {"pose": f"http://{name}/pose.zip", "pose_input_size": (288, 384)}
    modes = dict.fromkeys(("lightweight", "balanced", "performance"), entry)

    class Solution:
        MODE = modes
        RTMO_MODE = modes

        def __init__(self, **options):
            raise AssertionError("the solutions ignore local files")

    return Solution


@pytest.fixture(autouse=True)
def rtmlib(monkeypatch):
    module = ModuleType("rtmlib")
    for tool in (YOLOX, RTMPose, RTMO):
        setattr(module, tool.__name__, tool)
    for name in ("Body", "BodyWithFeet", "Wholebody"):
        setattr(module, name, solution(name))
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    monkeypatch.setattr(Tool, "made", [])


@pytest.fixture
def files(tmp_path):
    paths = {"pose": tmp_path / "my_rtmo_or_not.onnx", "detector": tmp_path / "boxes.onnx"}
    for path in paths.values():
        path.write_text("weights")
    return paths


def test_local_files_are_the_ones_used(files, capsys):
    detector = Rtm(**files, pose_size_px=(288, 384))
    assert isinstance(detector, Detector)
    assert detector.skeleton.name == "halpe26"
    boxes, pose = Tool.made
    assert (boxes.path, pose.path) == (str(files["detector"]), str(files["pose"]))
    assert (boxes.size, pose.size) == ((640, 640), (288, 384))
    assert boxes.backend == pose.backend == "onnxruntime"
    assert capsys.readouterr().out == ""


def test_people_come_out_with_their_joints(files):
    (person,) = Rtm(**files)(IMAGE)
    assert person.xy_px.shape == (26, 2)
    assert person.xy_px[2].tolist() == [10, 2]
    assert person.confidence[3] == 1  # SimCC scores may exceed one
    assert person.confidence[4] == 0
    assert np.isnan(person.xy_px[4]).all()
    assert person.score == pytest.approx((24 * 0.8 + 1) / 26)


def test_the_networks_see_bgr(files):
    Rtm(**files)(IMAGE)
    for tool in Tool.made:
        assert tool.seen[0, 0].tolist() == [0, 0, 200]
        assert tool.seen.flags["C_CONTIGUOUS"]


def test_no_boxes_mean_nobody(files, monkeypatch):
    monkeypatch.setattr(Tool, "boxes", ())
    assert Rtm(**files)(IMAGE) == []


def test_rtmo_is_used_directly_and_finds_nobody_where_there_is_nobody(files, monkeypatch):
    detector = Rtm(network="rtmo", pose=files["pose"])
    assert [type(tool) for tool in Tool.made] == [RTMO]
    assert Tool.made[0].path == str(files["pose"])
    assert detector.skeleton.name == "coco17"
    assert len(detector(IMAGE)) == 1
    monkeypatch.setattr(Tool, "boxes", ())
    assert detector(IMAGE) == []


@pytest.mark.parametrize(
    ("skeleton", "name"),
    [("halpe26", "BodyWithFeet"), ("coco17", "Body"), ("coco_wholebody133", "Wholebody")],
)
def test_stock_weights_fit_the_skeleton(skeleton, name):
    Rtm(skeleton=skeleton, mode="lightweight")
    boxes, pose = Tool.made
    assert boxes.path == f"http://{name}/det.zip"
    assert (pose.path, pose.size) == (f"http://{name}/pose.zip", (288, 384))


def test_unsure_people_are_dropped(files):
    assert Rtm(**files, min_score=0.9)(IMAGE) == []


def test_a_pose_network_with_other_joints_is_an_error(files):
    with pytest.raises(WeightsError, match=r"coco17.*expected \(N, 17, 2\), found \(1, 26, 2\)"):
        Rtm(**files, skeleton="coco17")(IMAGE)


def test_a_failing_backend_is_an_error_not_an_empty_image(files, monkeypatch):
    monkeypatch.setattr(Tool, "fails", True)
    with pytest.raises(DetectorError, match="backend"):
        Rtm(**files)(IMAGE)


def test_bad_files_and_options_are_named(files, tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.onnx"):
        Rtm(pose=tmp_path / "absent.onnx", detector=files["detector"])
    files["pose"].write_text("damaged")
    with pytest.raises(WeightsError, match="protobuf"):
        Rtm(**files)
    with pytest.raises(InputError, match="known: rtmpose, rtmo"):
        Rtm(network="rtm")
    with pytest.raises(InputError, match="balanced"):
        Rtm(mode="fast")
    with pytest.raises(UnknownNameError, match="halpe26"):
        Rtm(skeleton="halpe")
    with pytest.raises(InputError, match="rtmlib has none"):
        Rtm(skeleton="body25")


def test_other_images_are_refused(files):
    with pytest.raises(ShapeError):
        Rtm(**files)(IMAGE.astype(float))
