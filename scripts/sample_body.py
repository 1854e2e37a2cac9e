"""The people of rendered clips: an anny body in clothes, moved by CMU motion.

World axes are anny's: metres, z up, right-handed; the rest pose looks along -y, x is its left.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from anny import Anny
from anny.keypoints import KeypointsRegressor
from numpy.typing import NDArray
from sample_motion import CMU_TO_ANNY, SIDES, CmuMotion, bone_turns, leg_length_m, zero_pose_turns
from scipy.ndimage import gaussian_filter1d, percentile_filter

from poselift.geometry import unit
from poselift.skeleton import skeleton

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A slim woman of about thirty, 1.68 m tall; anny's phenotypes run from 0 to 1.
PHENOTYPE = {
    "gender": 1.0,
    "age": 0.68,
    "muscle": 0.6,
    "weight": 0.42,
    "height": 0.42,
    "proportions": 0.8,
}
FEET = tuple(
    f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")
)

# Colours are linear light, red green blue.
SKIN = (0.60, 0.32, 0.21)
HAIR = (0.035, 0.018, 0.011)
CLOTHES = ((0.62, 0.13, 0.06), (0.035, 0.055, 0.12), (0.72, 0.70, 0.66), HAIR)
THICKNESS_M = (0.007, 0.009, 0.006, 0.012)
HEM_M = 0.012  # cloth reaches its thickness this far from its edge


@dataclass(frozen=True)
class Body:
    """One shape of anny in its rest pose."""

    model: Anny
    phenotype: dict[str, torch.Tensor]
    labels: list[str]  # bones
    parents: list[int]
    vertices_m: Array  # (V, 3)
    heads_m: Array  # (J, 3)
    tails_m: Array  # (J, 3)
    frames: Array  # (J, 3, 3) axes of each bone
    skinning: Array  # (V, J)
    faces: NDArray[np.int32]  # (F, 3)
    keypoint_weights: Array  # (K, V)
    keypoints: list[str]

    def head(self, bone: str) -> Array:
        """Rest position (3,) of the head of a bone, metres."""
        return self.heads_m[self.labels.index(bone)]

    def keypoint(self, name: str) -> Array:
        """Rest position (3,) of a surface keypoint, metres."""
        return self.keypoint_weights[self.keypoints.index(name)] @ self.vertices_m

    def weight(self, *bones: str) -> Array:
        """How much (V,) each vertex hangs on these bones together."""
        return sum((self.skinning[:, self.labels.index(b)] for b in bones), np.zeros(1))


@dataclass(frozen=True)
class Performance:
    """A body in motion, in world axes."""

    vertices_m: Array  # (T, V, 3)
    keypoints_m: Array  # (T, 23, 3) COCO-17 and FEET
    joints_m: Array  # (T, 17, 3) H36M-17, anatomical
    heads_m: Array  # (T, J, 3) of all bones


@dataclass(frozen=True)
class Outfit:
    """Colours and clothes of a body. `inside_m` > 0 where a garment covers the vertex.

    The value is about the distance to the garment's edge, so that the renderer can interpolate it
    within a triangle and draw a sharp hem.
    """

    skin: Array  # (V, 3)
    inside_m: Array  # (V, 4) shirt, trousers, shoes, hair
    lift_m: Array  # (V,) thickness of the cloth


def load_model() -> Anny:
    """Build anny (a minute on its first use)."""
    model = Anny(rig="cmu_mb", phenotypes="default", skinning_method="lbs")
    return model.to(dtype=torch.float32)


def shape_body(model: Anny, phenotype: dict[str, float]) -> Body:
    """One shape of anny."""
    values: dict[str, Any] = {name: torch.tensor([value]) for name, value in phenotype.items()}
    shape = model.get_phenotype_blendshape_coefficients(**values)
    rest = {k: v[0].double().numpy() for k, v in model.get_rest_model(shape).items() if v.ndim > 2}
    regressor = KeypointsRegressor.coco(model)
    return Body(
        model=model,
        phenotype=values,
        labels=list(model.bone_labels),
        parents=list(model.bone_parents),
        vertices_m=rest["rest_vertices"],
        heads_m=rest["rest_bone_heads"],
        tails_m=rest["rest_bone_tails"],
        frames=rest["rest_bone_poses"][:, :3, :3],
        skinning=model.dense_vertex_bone_weights.double().numpy(),
        faces=model.faces.numpy().astype(np.int32),
        keypoint_weights=regressor.regression_weights.double().numpy(),
        keypoints=list(regressor.labels),
    )


def perform(body: Body, motion: CmuMotion) -> Performance:
    """Move the body, put its lowest sole on the floor z = 0 and its path around the origin."""
    zero = zero_pose_turns(body.labels, body.parents, body.heads_m, body.tails_m, motion.bones)
    turns = bone_turns(body.labels, zero, motion)
    thigh = np.linalg.norm(body.head("LeftLeg") - body.head("LeftUpLeg"))
    shank = np.linalg.norm(body.head("LeftFoot") - body.head("LeftLeg"))
    poses = np.tile(np.eye(4), (*turns.shape[:2], 1, 1))
    poses[:, :, :3, :3] = turns @ body.frames
    poses[:, 0, :3, 3] = (
        motion.root_m @ CMU_TO_ANNY.T * (thigh + shank) / leg_length_m(motion.bones)
    )
    with torch.no_grad():
        posed = body.model(
            torch.tensor(poses, dtype=torch.float32),
            {name: value.expand(len(poses)) for name, value in body.phenotype.items()},
            pose_parameterization="world-orient",
            return_bone_ends=True,
        )
    vertices, heads, tails = (
        posed[name].double().numpy() for name in ("vertices", "bone_heads", "bone_tails")
    )
    middle = (vertices.max(axis=(0, 1)) + vertices.min(axis=(0, 1))) / 2
    origin = np.tile(middle, (len(vertices), 1, 1))
    origin[:, 0, 2] = _floor_z(vertices) - THICKNESS_M[2]
    vertices, heads, tails = vertices - origin, heads - origin, tails - origin
    names = (*skeleton("coco17").joints, *FEET)
    weights = body.keypoint_weights[[body.keypoints.index(name) for name in names]]
    keypoints = np.einsum("kv,tvc->tkc", weights, vertices)
    joints = _h36m(body, heads, tails, nose_m=keypoints[:, 0])
    return Performance(vertices, keypoints, joints, heads)


def _floor_z(vertices_m: Array) -> Array:
    """Height (T,) of the floor under the body, drifting slowly.

    Other legs than those captured touch the floor some centimetres off. The low percentile over
    1.5 s follows that drift but neither a jump nor a single toe that dips through the floor.
    """
    lowest = vertices_m[..., 2].min(axis=1)
    return gaussian_filter1d(percentile_filter(lowest, 20, size=45), sigma=8)


def _h36m(body: Body, heads_m: Array, tails_m: Array, nose_m: Array) -> Array:
    """H36M-17 (T, 17, 3) from joint centres (heads of bones), the nose and the end of the head."""
    bones = {"hip": "UpLeg", "knee": "Leg", "ankle": "Foot"}
    bones |= {"shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand"}
    at = {
        f"{side.lower()}_{joint}": heads_m[:, body.labels.index(side + bone)]
        for side in SIDES
        for joint, bone in bones.items()
    }
    at["pelvis"] = (at["left_hip"] + at["right_hip"]) / 2
    at["thorax"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
    at["spine"] = (at["pelvis"] + at["thorax"]) / 2
    at["nose"] = nose_m
    at["head_top"] = tails_m[:, body.labels.index("Head")]
    return np.stack([at[joint] for joint in skeleton("h36m17").joints], axis=1)


def dress(body: Body, tone: tuple[float, float, float] = SKIN) -> Outfit:
    """Clothes, hair and face of the body, from its rest pose; `tone` is the colour of its skin."""
    inside = np.stack([_shirt(body), _trousers(body), _shoes(body), _hair(body)], axis=-1)
    grown = np.clip(inside / HEM_M, 0, 1) * THICKNESS_M
    skin, eyes = _face(body, tone)
    inside[eyes], grown[eyes] = -1, 0
    return Outfit(skin, inside, grown.max(axis=-1))


def _least(*fields: Array) -> Array:
    return np.minimum.reduce(np.broadcast_arrays(*fields))


def _along_arm(body: Body) -> Array:
    """Distance (V,) from the shoulder along the upper arm; negative on the trunk."""
    along = np.full(len(body.vertices_m), -1.0)
    for side in SIDES:
        shoulder, elbow = body.head(side + "Arm"), body.head(side + "ForeArm")
        arm = body.weight(side + "Arm", side + "ForeArm", side + "Hand") > 0.3
        along[arm] = (body.vertices_m[arm] - shoulder) @ unit(elbow - shoulder)
    hands = [
        bone for bone in body.labels if bone.endswith(("Hand", "FingerBase", "Finger1", "Thumb"))
    ]
    along[body.weight(*hands) > 0.3] = 1.0
    return along


def _shirt(body: Body) -> Array:
    """A T-shirt: round neck, sleeves to 0.6 of the upper arm."""
    y, z = body.vertices_m[:, 1], body.vertices_m[:, 2]
    neck = body.head("Neck")
    sleeve = 0.6 * np.linalg.norm(body.head("LeftArm") - body.head("LeftForeArm"))
    neckline = neck[2] + 0.005 + 0.35 * (y - neck[1]) - z
    on_head = np.where(body.weight("Head", "Neck1") > 0.5, -1.0, 1.0)
    hem = z - body.head("LeftUpLeg")[2] - 0.03
    hem = np.where(_along_arm(body) > -0.5, 1.0, hem)  # arms hang lower than the hem
    return _least(neckline, sleeve - _along_arm(body), on_head, hem)


def _trousers(body: Body) -> Array:
    z = body.vertices_m[:, 2]
    on_arm = np.where(_along_arm(body) > -0.5, -1.0, 1.0)
    return _least(body.head("LowerBack")[2] - z, z - body.head("LeftFoot")[2] - 0.03, on_arm)


def _shoes(body: Body) -> Array:
    on_foot = body.weight(*(side + bone for side in SIDES for bone in ("Foot", "ToeBase", "Leg")))
    ankle = body.head("LeftFoot")[2] + 0.015 - body.vertices_m[:, 2]
    return _least(ankle, np.where(on_foot > 0.5, 1.0, -1.0))


def _hair(body: Body) -> Array:
    """Short hair: above the forehead, behind the ears down to the nape, and the temples."""
    x, y, z = body.vertices_m.T
    eye, ear = body.keypoint("left_eye"), body.keypoint("left_ear")
    width = 2 * ear[0]
    top = z - eye[2] - 0.42 * width
    back = _least(y - ear[1] - 0.1 * width, z - ear[2] + 0.55 * width)
    temple = _least(np.abs(x) - 0.40 * width, z - ear[2] - 0.2 * width, y - ear[1] + 0.2 * width)
    on_head = np.where(body.weight("Head", "Neck1") > 0.5, 1.0, -1.0)
    return _least(np.maximum.reduce([top, back, temple]), on_head)


def _face(body: Body, tone: tuple[float, float, float]) -> tuple[Array, Mask]:
    """Colours (V, 3) of skin, brows, lips and eyes, and which vertices (V,) are eyes."""
    vertices, colour = body.vertices_m, np.tile(np.array(tone), (len(body.vertices_m), 1))
    nose, ear = body.keypoint("nose"), body.keypoint("left_ear")
    width = 2 * ear[0]
    front = (body.weight("Head") > 0.5) & (vertices[:, 1] < body.keypoint("left_eye")[1] + 0.03)
    lips = front & _box(vertices, nose - np.array([0, 0, 0.28 * width]), 0.14 * width, 0.04 * width)
    colour[lips] *= (0.95, 0.5, 0.55)
    eyes = np.zeros(len(vertices), dtype=bool)
    parts = list(_parts(body.faces, len(vertices)))
    for name in ("left_eye", "right_eye"):
        eye = body.keypoint(name)
        brow = front & _box(
            vertices, eye + np.array([0, 0, 0.18 * width]), 0.15 * width, 0.018 * width
        )
        colour[brow] = np.array(tone) * 0.3
        for part in parts:
            ball = vertices[part]
            if np.linalg.norm(ball.mean(axis=0) - eye) > 0.25 * width:
                continue
            eyes[part] = True
            colour[part] = 0.7
            off_axis = np.linalg.norm((ball - ball.mean(axis=0))[:, ::2], axis=1)
            iris = (off_axis < 0.5 * off_axis.max()) & (ball[:, 1] < ball[:, 1].mean())
            colour[part[iris]] = (0.02, 0.012, 0.008)
    return colour, eyes


def _box(vertices_m: Array, centre_m: Array, half_width_m: float, half_height_m: float) -> Mask:
    away = np.abs(vertices_m - centre_m)
    return (away[:, 0] < half_width_m) & (away[:, 2] < half_height_m)


def _parts(faces: NDArray[np.int32], count: int) -> Iterable[NDArray[np.int64]]:
    """Vertex indices of each connected part of the mesh but the largest (the skin)."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:3]])
    graph = sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count))
    _, label = sp.csgraph.connected_components(graph, directed=False)
    sizes = np.bincount(label)
    return (np.flatnonzero(label == part) for part in np.flatnonzero(sizes < sizes.max()))
