"""From answers to records: every metric of a lifter on a track, with intervals and strata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from poselift import metrics
from poselift.errors import InputError, ShapeError
from poselift.geometry import Array
from poselift.metrics.angles import ANGLES
from poselift.metrics.bootstrap import DRAWS, LEVEL, clip_totals, estimate, ratio
from poselift.metrics.contact import CAMERA_UP
from poselift.metrics.uncertainty import OPTICAL_AXIS, Claim, exp_power, gaussian
from poselift.report.claims import Totals, claim_totals, mean_totals
from poselift.report.measures import PCK_CURVE_MM
from poselift.report.records import ALL, Record, rounded
from poselift.skeleton import Skeleton, skeleton

ANGLE_GROUPS = {
    "angle_deg": ANGLES,
    "hip_deg": ("left_hip", "right_hip"),
    "knee_deg": ("left_knee", "right_knee"),
    "shoulder_deg": ("left_shoulder", "right_shoulder"),
    "elbow_deg": ("left_elbow", "right_elbow"),
    "trunk_deg": ("trunk",),
}
PER_STRATUM = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm_s", "angle_deg")
PER_JOINT = ("coverage_90", "sharpness_mm")  # beside mpjpe_mm


@dataclass(frozen=True, eq=False)
class Answer:
    """What a lifter said about one clip, beside the truth; T frames, J joints, camera axes, metres.

    predicted_m, truth_m (T, J, 3), of which only what is relative to the first joint is judged;
    time_s (T). strata: kind to label, such as view: front. predicted_root_m, truth_root_m (T, 3):
    the root in space. contact (T, 2): left and right foot planted; found from the truth where it is
    left out and the true root is known. up (3) or (T, 3): against gravity. scale_m (T, J, 2):
    lateral and depth scale of what is claimed about `axis` (3) or (T, 3); sd_m (T, J): standard
    deviation per axis, not used beside scale_m. NaN = not known. Raises ShapeError.
    """

    name: str
    predicted_m: Array
    truth_m: Array
    time_s: Array
    strata: Mapping[str, str] = field(default_factory=dict)
    predicted_root_m: Array | None = None
    truth_root_m: Array | None = None
    contact: NDArray[np.bool_] | None = None
    up: Array = field(default_factory=CAMERA_UP.copy)
    scale_m: Array | None = None
    sd_m: Array | None = None
    axis: Array = field(default_factory=OPTICAL_AXIS.copy)

    def __post_init__(self) -> None:
        frames, joints = self.truth_m.shape[:2]
        shapes = {
            "predicted_m": (frames, joints, 3),
            "truth_m": (frames, joints, 3),
            "time_s": (frames,),
            "predicted_root_m": (frames, 3),
            "truth_root_m": (frames, 3),
            "contact": (frames, 2),
            "scale_m": (frames, joints, 2),
            "sd_m": (frames, joints),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ShapeError(f"{self.name}: {name}", expected=str(shape), found=array.shape)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One training run of a lifter on one track: an answer to every clip."""

    answers: tuple[Answer, ...]
    skeleton: Skeleton = field(default_factory=lambda: skeleton("h36m17"))


def to_records(
    runs: Sequence[Evaluated],
    *,
    lifter: str,
    benchmark: str,
    track: str,
    mode: str,
    command: str = "",
    draws: int = DRAWS,
    level: float = LEVEL,
) -> list[Record]:
    """Every metric that the answers allow, of one lifter on one track over its training seeds.

    runs: one per seed, with the same clips in the same order. Intervals by bootstrap over clips and
    seeds. Strata: `PER_STRATUM` for each label, MPJPE and the claim per joint. Metrics for which
    nothing was counted have no record. Raises InputError (no runs, no clips, other clips).
    """
    _check_runs(runs)
    tables = [_run_totals(run) for run in runs]
    every = range(len(runs[0].answers))
    wanted = [(ALL, [name for name in tables[0] if "@" not in name], every)]
    for joint in runs[0].skeleton.joints:
        names = [name for name in tables[0] if name.endswith(f"@{joint}")]
        wanted.append((f"joint:{joint}", names, every))
    for stratum, clips in _strata(runs[0].answers).items():
        wanted.append((stratum, ["clips", *PER_STRATUM], clips))
    out = []
    for stratum, names, clips in wanted:
        for name in names:
            values = _estimate(tables, name, clips, draws, level)
            if values:
                identity = (lifter, benchmark, track, mode, name.partition("@")[0])
                out.append(Record(*identity, *values, len(runs), stratum, command))
    return out


def _estimate(
    tables: Sequence[Totals], name: str, clips: Sequence[int], draws: int, level: float
) -> tuple[float, ...]:
    """Value, low and high of a metric over some clips; empty where nothing was counted."""
    if not all(name in table for table in tables):
        return ()
    totals = np.stack([table[name][0][list(clips)] for table in tables])
    values = estimate(totals, tables[0][name][1], draws=draws, level=level)
    return tuple(rounded(value) for value in values) if np.isfinite(values).all() else ()


def _check_runs(runs: Sequence[Evaluated]) -> None:
    if not runs or not runs[0].answers:
        raise InputError("evaluation", expected="at least one run with one clip", found="none")
    first = [answer.name for answer in runs[0].answers]
    for run in runs[1:]:
        names = [answer.name for answer in run.answers]
        if names != first:
            raise InputError("runs of several seeds", expected=f"clips {first}", found=names)


def _strata(answers: Sequence[Answer]) -> dict[str, list[int]]:
    """Clips of each stratum "kind:label", kinds as they come, labels by name."""
    kinds = dict.fromkeys(kind for answer in answers for kind in answer.strata)
    out: dict[str, list[int]] = {}
    for kind in kinds:
        labels = {answer.strata[kind] for answer in answers if kind in answer.strata}
        for label in sorted(labels):
            chosen = [n for n, answer in enumerate(answers) if answer.strata.get(kind) == label]
            out[f"{kind}:{label}"] = chosen
    return out


def _run_totals(run: Evaluated) -> Totals:
    """Totals (C, ...) of every metric; "metric@joint" for one joint alone."""
    rows = [_clip_values(answer, run.skeleton) for answer in run.answers]
    names = dict.fromkeys(name for row in rows for name in row)
    nothing = np.empty(0)
    out: Totals = {
        name: (np.stack([clip_totals(row.get(name, nothing)) for row in rows]), ratio)
        for name in names
    }
    out["clips"] = np.ones((len(rows), 1)), _number
    claims = [_claim(answer) for answer in run.answers]
    known = [claim for claim in claims if claim is not None]
    if len(known) == len(claims):
        # The root is right by definition, so that nothing is claimed about it.
        rest = slice(1, None)
        out |= claim_totals([claim.of(rest) for claim in known])
        for number, joint in enumerate(run.skeleton.joints[1:], start=1):
            of_joint = mean_totals([claim.of(number) for claim in known])
            out |= {f"{name}@{joint}": of_joint[name] for name in PER_JOINT}
    return out


def _number(totals: Array) -> Array:
    return totals[..., 0]


def _clip_values(answer: Answer, source: Skeleton) -> dict[str, Array]:
    """Values over frames (any shape, NaN = nothing) of each metric that is a mean of such."""
    guess, truth = metrics.relative(answer.predicted_m), metrics.relative(answer.truth_m)
    error = metrics.mpjpe(guess, truth)
    out = {
        "mpjpe_mm": 1e3 * error,
        "p_mpjpe_mm": 1e3 * metrics.p_mpjpe(guess, truth),
        "n_mpjpe_mm": 1e3 * metrics.n_mpjpe(guess, truth),
        "auc": 100 * metrics.auc(guess, truth),
        "mpjve_mm_s": 1e3 * metrics.mpjve_per_second(guess, truth, answer.time_s),
        "accel_m_s2": metrics.acceleration_error(guess, truth, answer.time_s),
        "bone_sd_mm": _bone_sd_mm(guess, source),
        "missed_percent": _missed_percent(error, truth),
    }
    for mm in PCK_CURVE_MM:
        out[f"pck_{mm}"] = 100 * metrics.pck(guess, truth, mm / 1e3)
    angles = metrics.angle_error_deg(guess, truth, source)
    for name, group in ANGLE_GROUPS.items():
        out[name] = np.stack([angles[joint] for joint in group])
    distance = 1e3 * metrics.joint_distance(guess, truth)
    for number, joint in enumerate(source.joints[1:], start=1):
        out[f"mpjpe_mm@{joint}"] = distance[:, number]
    return out | _placed(answer, guess, truth, source)


def _bone_sd_mm(guess: Array, source: Skeleton) -> Array:
    """A clip's mean over bones, once for every frame that has a pose: long clips weigh more."""
    deviation = metrics.bone_length_deviation(guess, source.edges)
    known = deviation[np.isfinite(deviation)]
    frames = int(np.isfinite(guess).all(axis=(-1, -2)).sum())
    return np.full(frames, 1e3 * known.mean()) if len(known) else np.empty(0)


def _missed_percent(error: Array, truth: Array) -> Array:
    asked = np.isfinite(truth).all(axis=-1).any(axis=-1)
    return np.where(asked, 100.0 * np.isnan(error), np.nan)


def _placed(answer: Answer, guess: Array, truth: Array, source: Skeleton) -> dict[str, Array]:
    """Root error and foot skate, as far as roots and contacts are known."""
    out: dict[str, Array] = {}
    root, true_root = answer.predicted_root_m, answer.truth_root_m
    contact = answer.contact
    if contact is None and true_root is not None:
        placed = truth + true_root[:, None]
        contact = metrics.planted(placed, answer.time_s, source, answer.up)
    if contact is not None:
        rest = (answer.time_s, contact, source, answer.up)
        out["skate_m_s"] = metrics.foot_skate_error(guess, truth, *rest)
    if root is not None and true_root is not None:
        out["root_mm"] = 1e3 * metrics.root_error(root[:, None], true_root[:, None])
    if root is not None and true_root is not None and contact is not None:
        pair = guess + root[:, None], truth + true_root[:, None]
        out["placed_skate_m_s"] = metrics.foot_skate_error(*pair, *rest)
    return out


def _claim(answer: Answer) -> Claim | None:
    guess, truth = metrics.relative(answer.predicted_m), metrics.relative(answer.truth_m)
    if answer.scale_m is not None:
        axis = answer.axis[:, None] if answer.axis.ndim == 2 else answer.axis
        return exp_power(guess, truth, answer.scale_m, axis)
    if answer.sd_m is not None:
        return gaussian(guess, truth, answer.sd_m)
    return None
