"""Joint angles in degrees and their errors, from joint positions alone.

Knees and elbows are hinges: flexion is the angle between the two segments, 0 when straight.
Hips and shoulders are balls: the thigh is seen from the pelvis, the upper arm from the thorax.
Turning a limb about its own length does not move a joint, so no positions can tell it.

| frame | left | up | forward |
|---|---|---|---|
| pelvis | right hip to left hip | pelvis to spine, the part across `left` | left × up |
| thorax | right to left shoulder, the part across `up` | spine to thorax | left × up |

Singular cases: a segment without length, or a frame whose two directions are parallel, has no
angle: NaN. A straight limb is no such case (0 degrees, and an error is a plain difference), but a
thigh that points straight to the side has no flexion: its sign and size are noise there, so
compare directions (`angle_error_deg`) and not `*_flexion`. Skeletons whose spine is the middle of
pelvis and thorax (H36M-17 as poselift makes it) cannot bend forward between the two: their
`trunk_flexion` is 0, and what is left of the trunk is lean and twist.
"""

import numpy as np

from poselift.geometry import Array
from poselift.metrics.common import check_pair
from poselift.skeleton import Skeleton, convert, skeleton

HINGES = {
    "left_knee": ("left_hip", "left_knee", "left_ankle"),
    "right_knee": ("right_hip", "right_knee", "right_ankle"),
    "left_elbow": ("left_shoulder", "left_elbow", "left_wrist"),
    "right_elbow": ("right_shoulder", "right_elbow", "right_wrist"),
}
BALLS = {
    "left_hip": ("pelvis", "left_hip", "left_knee"),
    "right_hip": ("pelvis", "right_hip", "right_knee"),
    "left_shoulder": ("thorax", "left_shoulder", "left_elbow"),
    "right_shoulder": ("thorax", "right_shoulder", "right_elbow"),
}
ANGLES = (*HINGES, *BALLS, "trunk")
_H36M = skeleton("h36m17")
_LEAST_M = 1e-6  # a direction between joints nearer than this is rounding noise


def joint_angles(xyz_m: Array, source: Skeleton) -> dict[str, Array]:
    """Angles (..., T) in degrees of poses (..., T, J, 3), by name.

    `left_knee_flexion` (and right, and elbows): 0 straight, 180 folded.
    `left_hip_flexion` (and shoulders): how far the limb is lifted forwards in the body's sagittal
    plane, 0 hanging down, 90 forwards, negative backwards, within ±180.
    `left_hip_abduction` (and shoulders): how far out to its own side, negative across the midline,
    within ±90.
    `trunk_flexion`, `trunk_lean`, `trunk_twist`: the thorax in the pelvis frame, bent forwards,
    bent to the left, turned to the left; all 0 when upright.
    Joints go by name, and what the skeleton lacks is built as `convert` does; what cannot be had
    is NaN. Raises ShapeError.
    """
    at = _by_name(xyz_m, source)
    out = {f"{name}_flexion": _hinge_deg(at, name) for name in HINGES}
    frames = {"pelvis": _pelvis(at), "thorax": _thorax(at)}
    for name, (body, start, end) in BALLS.items():
        left, up, forward = np.moveaxis(_inside(frames[body], _direction(at, start, end)), -1, 0)
        outwards = left if name.startswith("left") else -left
        out[f"{name}_flexion"] = np.degrees(np.arctan2(forward, -up))
        out[f"{name}_abduction"] = np.degrees(np.arctan2(outwards, np.hypot(up, forward)))
    spine = _inside(frames["pelvis"], _direction(at, "spine", "thorax"))
    shoulders = _inside(frames["pelvis"], _direction(at, "right_shoulder", "left_shoulder"))
    out["trunk_flexion"] = np.degrees(np.arctan2(spine[..., 2], spine[..., 1]))
    out["trunk_lean"] = np.degrees(
        np.arctan2(spine[..., 0], np.hypot(spine[..., 1], spine[..., 2]))
    )
    # The left shoulder goes back when the trunk turns to the left.
    out["trunk_twist"] = np.degrees(np.arctan2(-shoulders[..., 2], shoulders[..., 0]))
    return out


def angle_error_deg(predicted_m: Array, true_m: Array, source: Skeleton) -> dict[str, Array]:
    """Error (..., T) in degrees, 0 to 180, of each of `ANGLES` for poses (..., T, J, 3).

    Knees, elbows: difference of flexion. Hips, shoulders: angle between predicted and true
    direction of the limb, each seen from its own body frame. Trunk: angle of the rotation between
    predicted and true thorax, each seen from its own pelvis (bend, lean and twist together).
    None depends on the camera, the place or the size of either person. NaN where truth or answer
    lack a joint. Raises ShapeError.
    """
    check_pair(predicted_m, true_m)
    guess, truth = _by_name(predicted_m, source), _by_name(true_m, source)
    out = {name: np.abs(_hinge_deg(guess, name) - _hinge_deg(truth, name)) for name in HINGES}
    make = {"pelvis": _pelvis, "thorax": _thorax}
    for name, (body, start, end) in BALLS.items():
        limbs = [_inside(make[body](at), _direction(at, start, end)) for at in (guess, truth)]
        out[name] = _between_deg(*limbs)
    out["trunk"] = _turn_deg(
        *(np.swapaxes(_pelvis(at), -1, -2) @ _thorax(at) for at in (guess, truth))
    )
    return out


def _by_name(xyz_m: Array, source: Skeleton) -> dict[str, Array]:
    points = convert(xyz_m, source, _H36M)
    return {joint: points[..., number, :] for number, joint in enumerate(_H36M.joints)}


def _direction(at: dict[str, Array], start: str, end: str) -> Array:
    return _unit(at[end] - at[start], _LEAST_M)


def _unit(vector: Array, least: float) -> Array:
    """Length one; NaN for what is shorter than `least`, as it points nowhere."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length > least, length, np.nan)


def _pelvis(at: dict[str, Array]) -> Array:
    """Frame (..., 3, 3) with columns left, up, forward; the line of the hips is kept."""
    left = _direction(at, "right_hip", "left_hip")
    up = _across(_direction(at, "pelvis", "spine"), left)
    return np.stack([left, up, np.cross(left, up)], axis=-1)


def _thorax(at: dict[str, Array]) -> Array:
    """Frame (..., 3, 3) with columns left, up, forward; the spine is kept, shoulders shrug."""
    up = _direction(at, "spine", "thorax")
    left = _across(_direction(at, "right_shoulder", "left_shoulder"), up)
    return np.stack([left, up, np.cross(left, up)], axis=-1)


def _across(direction: Array, axis: Array) -> Array:
    return _unit(direction - axis * np.sum(direction * axis, axis=-1, keepdims=True), 1e-6)


def _inside(frame: Array, direction: Array) -> Array:
    """A direction (..., 3) in the axes of a frame (..., 3, 3)."""
    return np.einsum("...ij,...i->...j", frame, direction)


def _hinge_deg(at: dict[str, Array], name: str) -> Array:
    start, middle, end = HINGES[name]
    return _between_deg(_direction(at, start, middle), _direction(at, middle, end))


def _between_deg(a: Array, b: Array) -> Array:
    """Angle between directions; by arc tangent, as arc cosine loses digits near 0 and 180."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


def _turn_deg(a: Array, b: Array) -> Array:
    """Angle of the rotation between two frames (..., 3, 3): |a - b| is √8 sin(angle / 2)."""
    chord = np.linalg.norm(a - b, axis=(-1, -2)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(np.minimum(chord, 1.0)))
