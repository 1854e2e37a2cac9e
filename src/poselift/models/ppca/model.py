"""PPCA mixture: what poses people take, as a few charts of mean, basis and noise; kept in one npz.

Model axes are those of a level world seen from the front at yaw 0: x the person's left, y back,
z up. A pose is centred on the mean of its joints and in units of its size, the root mean square
of its 16 bones, so that a model knows neither where nor how tall somebody is.
"""

import json
from dataclasses import dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from poselift.errors import ShapeError, WeightsError
from poselift.geometry import Array
from poselift.io.files import atomic, check_input_file
from poselift.skeleton import skeleton

Index = NDArray[np.integer]
SKELETON = skeleton("h36m17")
JOINTS = len(SKELETON)
_PARENT, _CHILD = (list(side) for side in zip(*SKELETON.edges, strict=True))
LARGEST_BYTES = 300_000


@dataclass(frozen=True)
class FusionWeights:
    """How much a stage believes the detector rather than the projected 3D fit, 0 to 1.

    weight = sigmoid(bias[stage, joint] + slope[stage] . (confidence, log(1 + apart^2))), where
    apart is the distance of the two points in units of their standard deviations.
    bias (T, 17), slope (T, 2) for T stages.
    """

    bias: Array
    slope: Array

    def __len__(self) -> int:
        return len(self.bias)

    def at(self, stage: int, confidence: Array, apart: Array) -> Array:
        """Weights (N, 17) of a stage for confidence and apart (N, 17)."""
        features = np.stack([confidence, np.log1p(apart**2)], axis=-1)
        return expit(self.bias[stage] + features @ self.slope[stage])


@dataclass(frozen=True)
class Mixture:
    """K charts: pose = mean + basis . a + noise, with a ~ N(0, I) and the same noise in all axes.

    share (K) sums to one; mean (K, 17, 3) and basis (K, n, 17, 3) in units of size; noise (K) its
    standard deviation. size_m and size_spread: people's size, median and standard deviation of
    its logarithm. seen (17) and fade: the standard deviation of a detector's point about the
    joint's projection, in units of size, is seen * exp(fade * (1 - confidence)).
    Raises ShapeError where the arrays do not fit each other.
    """

    share: Array
    mean: Array
    basis: Array
    noise: Array
    size_m: float
    size_spread: float
    seen: Array
    fade: float
    fusion: FusionWeights

    def __post_init__(self) -> None:
        charts, n = len(self.share), self.basis.shape[1] if self.basis.ndim == 4 else 0
        expected = {
            "share": (charts,),
            "mean": (charts, JOINTS, 3),
            "basis": (charts, n, JOINTS, 3),
            "noise": (charts,),
            "seen": (JOINTS,),
        }
        stages = len(self.fusion)
        fusion = {"bias": (stages, JOINTS), "slope": (stages, 2)}
        for owner, shapes in ((self, expected), (self.fusion, fusion)):
            for name, shape in shapes.items():
                found = getattr(owner, name).shape
                if found != shape:
                    raise ShapeError(f"PPCA mixture: {name}", expected=str(shape), found=found)

    @property
    def charts(self) -> int:
        """K."""
        return len(self.share)

    def visibility(self, confidence: Array) -> Array:
        """Weights (N, 17) for `lift` of confidences (N, 17) in 0..1; 0 stays 0."""
        weight = np.exp(-2 * self.fade * (1 - np.clip(confidence, 0, 1)))
        return np.where(confidence > 0, weight, 0.0)


def size(poses: Array) -> Array:
    """Root mean square of the bones' lengths (...) of poses (..., 17, 3)."""
    bones = poses[..., _CHILD, :] - poses[..., _PARENT, :]
    return np.sqrt(np.mean(np.sum(bones**2, axis=-1), axis=-1))


def save(path: Path, mixture: Mixture) -> None:
    """Write a model, a few ten kilobytes: npz of single-precision arrays, no pickles."""
    arrays = {
        field.name: getattr(mixture, field.name)
        for field in fields(mixture)
        if field.name != "fusion"
    }
    arrays["fusion_bias"], arrays["fusion_slope"] = mixture.fusion.bias, mixture.fusion.slope
    single = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **single)  # ty: ignore[invalid-argument-type]


def load(path: Path) -> Mixture:
    """Read a model. Raises FormatError (no file), WeightsError where it is none or damaged."""
    check_input_file(path)
    names = [field.name for field in fields(Mixture) if field.name != "fusion"]
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = {name: archive[name].astype(np.float64) for name in archive.files}
        fusion = FusionWeights(data["fusion_bias"], data["fusion_slope"])
        numbers = {name: data[name] if data[name].ndim else float(data[name]) for name in names}
        return Mixture(**numbers, fusion=fusion)  # ty: ignore[invalid-argument-type]
    except WeightsError:
        raise
    except Exception as error:  # numpy, zipfile and zlib have no common base class
        raise WeightsError(str(path), expected="a PPCA mixture", found=repr(error)) from error


def shipped() -> Mixture:
    """The model that comes with poselift. Raises WeightsError where its hash is wrong."""
    import hashlib

    folder = files("poselift.models").joinpath("weights")
    record = json.loads(folder.joinpath("ppca.json").read_text(encoding="utf-8"))
    with as_file(folder.joinpath(record["file"])) as path:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != record["sha256"]:
            raise WeightsError(record["file"], expected=f"SHA-256 {record['sha256']}", found=digest)
        return load(path)
