"""What is reported: name, unit, better direction and meaning of every metric; order of tracks."""

import re
from dataclasses import dataclass
from typing import Literal

from poselift.errors import UnknownNameError

Better = Literal["lower", "higher", "claim", "neither"]  # claim: as near as possible to the claim

TRACKS = (
    *("clean", "mild", "real", "hard", "missing"),
    *("fps", "fov", "rendered", "cross-corpus"),
)
_LABELS = (
    *("front", "side", "back", "slow", "medium", "fast"),
    *("little", "some", "much", "common", "rare"),
)
HEADLINE = "real"  # the track that details are shown of
PCK_CURVE_MM = tuple(range(10, 151, 10))
COVERAGE_PERCENT = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)


@dataclass(frozen=True)
class Metric:
    """One number of a report. `title` heads columns, `group` is the table that it stands in."""

    name: str
    title: str
    unit: str
    better: Better
    group: str
    decimals: int
    meaning: str

    @property
    def head(self) -> str:
        """Title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def _table(*rows: tuple[str, str, str, Better, str, int, str]) -> dict[str, Metric]:
    return {row[0]: Metric(*row) for row in rows}


# A frame that the lifter does not answer counts in no mean (but as wrong in PCK and AUC), and in
# missed_percent. Positions are relative to the pelvis, whose error of 0 counts, as is usual.
METRICS: dict[str, Metric] = _table(
    ("mpjpe_mm", "MPJPE", "mm", "lower", "position", 1, "mean joint distance"),
    (
        *("p_mpjpe_mm", "P-MPJPE", "mm", "lower", "position", 1),
        "mean joint distance after each frame's best rotation, scale and shift",
    ),
    (
        *("n_mpjpe_mm", "N-MPJPE", "mm", "lower", "position", 1),
        "mean joint distance after each frame's best scale",
    ),
    (
        *("pck_150", "PCK@150", "%", "higher", "position", 1),
        "share of joints nearer than 150 mm (pck_N: nearer than N mm)",
    ),
    (
        *("auc", "AUC", "%", "higher", "position", 1),
        "mean of PCK over 0, 5, ..., 150 mm; a perfect pose has 30/31",
    ),
    ("root_mm", "Root", "mm", "lower", "position", 0, "distance of the pelvis placed in space"),
    ("missed_percent", "Missed", "%", "lower", "position", 1, "frames without an answer"),
    (
        *("mpjve_mm_s", "MPJVE", "mm/s", "lower", "motion", 0),
        "mean error of joint velocities, with true time stamps",
    ),
    (
        *("accel_m_s2", "Acceleration", "m/s²", "lower", "motion", 2),
        "mean error of joint accelerations",
    ),
    (
        *("skate_m_s", "Foot skate", "m/s", "lower", "motion", 3),
        "horizontal speed that the pose adds to a planted foot, the root being right",
    ),
    (
        *("placed_skate_m_s", "Foot skate, placed", "m/s", "lower", "motion", 3),
        "the same with the lifter's own root",
    ),
    (
        *("bone_sd_mm", "Bone length", "mm", "lower", "motion", 1),
        "standard deviation of a bone's length over a clip, mean of bones",
    ),
    ("angle_deg", "All angles", "°", "lower", "angles", 1, "mean of the nine angles' errors"),
    ("hip_deg", "Hips", "°", "lower", "angles", 1, "direction of the thigh, seen from the pelvis"),
    ("knee_deg", "Knees", "°", "lower", "angles", 1, "flexion"),
    (
        *("shoulder_deg", "Shoulders", "°", "lower", "angles", 1),
        "direction of the upper arm, seen from the thorax",
    ),
    ("elbow_deg", "Elbows", "°", "lower", "angles", 1, "flexion"),
    ("trunk_deg", "Trunk", "°", "lower", "angles", 1, "rotation of the thorax against the pelvis"),
    (
        *("coverage_50", "Within 50 %", "%", "claim", "uncertainty", 1),
        "truths within the region that claims to hold 50 % (coverage_N: N %); honest: 50",
    ),
    ("coverage_90", "Within 90 %", "%", "claim", "uncertainty", 1, "the same for 90 %"),
    ("coverage_95", "Within 95 %", "%", "claim", "uncertainty", 1, "the same for 95 %"),
    (
        *("ece_percent", "Calibration error", "%", "lower", "uncertainty", 1),
        "mean distance between claimed and found share over all levels",
    ),
    (
        *("sharpness_mm", "Claimed deviation", "mm", "neither", "uncertainty", 1),
        "mean claimed standard deviation per axis; smaller is better among honest lifters only",
    ),
    (
        *("ause", "AUSE", "", "lower", "uncertainty", 3),
        "how much worse than an oracle the claim sorts out errors, in mean errors",
    ),
    (
        *("spearman", "Rank correlation", "", "higher", "uncertainty", 3),
        "of claimed deviation and error (Spearman)",
    ),
    (
        *("nll", "NLL", "nats", "lower", "uncertainty", 2),
        "minus the log of the claimed density (per cubic metre) at the truth",
    ),
    ("clips", "Clips", "", "neither", "", 0, "how many clips the other numbers stand on"),
)
_FAMILY = re.compile(r"(pck|coverage)_(\d{1,3})")


def metric(name: str) -> Metric:
    """The metric of that name; `pck_N` in mm and `coverage_N` in percent for any N.

    Raises UnknownNameError, which lists the names.
    """
    if name in METRICS:
        return METRICS[name]
    found = _FAMILY.fullmatch(name)
    if not found:
        raise UnknownNameError("metric", name, METRICS)
    family, number = found.groups()
    if family == "pck":
        meaning = f"share of joints nearer than {number} mm"
        return Metric(name, f"PCK@{number}", "%", "higher", "", 1, meaning)
    meaning = f"truths within the region that claims to hold {number} %"
    return Metric(name, f"Within {number} %", "%", "claim", "", 1, meaning)


def badness(name: str, value: float) -> float:
    """A number that is smaller for better values; 0 for metrics that judge nothing."""
    better = metric(name).better
    if better == "claim":
        return abs(value - float(name.removeprefix("coverage_")))
    return {"lower": value, "higher": -value, "neither": 0.0}[better]


def track_order(track: str) -> tuple[int, str]:
    """Sorting key: the tracks of the open benchmark as they are told, then others by name."""
    return (TRACKS.index(track) if track in TRACKS else len(TRACKS), track)


def label_order(label: str) -> tuple[int, str]:
    """Sorting key: labels of strata from easy to hard where that is known, others by name."""
    return (_LABELS.index(label) if label in _LABELS else len(_LABELS), label)


def large(number: float) -> str:
    """A number in three digits with k, M or G for thousands, millions and milliards."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
