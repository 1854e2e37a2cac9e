"""Compare the table of bodies with anny's full model, and describe the bodies in it.

    python scripts/check_bodies.py
    python scripts/check_bodies.py --fixture tests/train/body_poses.npz    # keep some answers

Needs anny, see build_bodies.py.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anny import Anny
from anny.models.rigged_model import RiggedModelWithLinearBlendShapes
from build_bodies import (
    GROUPS,
    SMALLEST_WEIGHT,
    Array,
    Sample,
    draw,
    linearise,
    load_model,
    regressor,
    tabulate,
    without_small,
)
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from poselift.io.files import atomic
from poselift.train.bodies import BodyTable, body_table

SEED = 3
POSES = 4  # of each kind, for every body that is compared
LIMB_DEG, TRUNK_DEG = 40, 10  # how far joints of "people" turn, sd about each axis
TALL_M = 1.75  # stature for which gaps are printed
# Joints with a keypoint of the same name, and the bone that starts there.
JOINTS = {
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "Hand",
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
}
SEGMENTS = {
    "upper arm": ("left_shoulder", "left_elbow"),
    "forearm": ("left_elbow", "left_wrist"),
    "thigh": ("left_hip", "left_knee"),
    "shank": ("left_knee", "left_ankle"),
    "hip width": ("left_hip", "right_hip"),
    "shoulder width": ("left_shoulder", "right_shoulder"),
}


@dataclass(frozen=True)
class Truth:
    """What anny itself says of N bodies in T poses; root at the origin, metres, world axes."""

    body: NDArray[np.int64]  # (N,) rows of the table
    turn: Array  # (T, 31, 3, 3) rotation of each bone's flesh from the rest pose
    head_m: Array  # (N, T, 31, 3)
    keypoint_m: Array  # (N, T, K, 3)

    def error_mm(self, table: BodyTable) -> tuple[float, float]:
        """Largest distance of the table's heads and of its keypoints."""
        posed = [table.posed(body, self.turn) for body in self.body]
        heads, keypoints = (np.stack(part) for part in zip(*posed, strict=True))
        return _far_mm(heads, self.head_m), _far_mm(keypoints, self.keypoint_m)


def _far_mm(found_m: Array, expected_m: Array) -> float:
    return 1e3 * float(np.linalg.norm(found_m - expected_m, axis=-1).max())


def wild_poses(bones: int, rng: np.random.Generator) -> Array:
    """Rotations (POSES, bones, 3, 3) of any direction: far worse than any motion."""
    vectors = rng.normal(size=(POSES * bones, 4))
    return Rotation.from_quat(vectors).as_matrix().reshape(POSES, bones, 3, 3)


def moving_poses(table: BodyTable, rng: np.random.Generator) -> Array:
    """Rotations (POSES, 31, 3, 3) of people who bend their joints."""
    limb = [bone.endswith(("UpLeg", "Leg", "Foot", "Arm", "ForeArm")) for bone in table.bones]
    bend = rng.normal(size=(POSES, len(limb), 3)) * np.where(limb, LIMB_DEG, TRUNK_DEG)[:, None]
    turn = Rotation.from_rotvec(bend.reshape(-1, 3), degrees=True).as_matrix()
    turn = turn.reshape(POSES, len(limb), 3, 3)
    for bone, parent in enumerate(table.parents):
        if parent >= 0:
            turn[:, bone] = turn[:, parent] @ turn[:, bone]
    return turn


def ask_anny(model: Anny, sample: Sample, regression: Array) -> Truth:
    """Two bodies of every group, in wild and in moving poses."""
    rng, table = np.random.default_rng(SEED), body_table()
    chosen = [rng.choice(np.flatnonzero(sample.group == name), 2, replace=False) for name in GROUPS]
    bodies = np.concatenate(chosen)
    turn = np.concatenate([wild_poses(len(table.bones), rng), moving_poses(table, rng)])
    answers = [_pose(model, sample.coefficients[body], turn, regression) for body in bodies]
    heads, keypoints = zip(*answers, strict=True)
    return Truth(bodies, turn, np.stack(heads), np.stack(keypoints))


def _pose(model: Anny, shape: Array, turn: Array, regression: Array) -> tuple[Array, Array]:
    """Heads (T, 31, 3) and keypoints (T, K, 3) of one body (A,), by skinning its mesh."""
    coefficients = torch.tensor(shape)[None]
    rest = model.get_rest_model(coefficients)["rest_bone_poses"][0, :, :3, :3].numpy()
    poses = np.tile(np.eye(4), (*turn.shape[:2], 1, 1))
    poses[..., :3, :3] = turn @ rest  # anny wants orientations, not turns from the rest pose
    posed = RiggedModelWithLinearBlendShapes.forward(
        model, torch.tensor(poses), coefficients, pose_parameterization="world-orient"
    )
    return posed["bone_poses"][..., :3, 3].numpy(), regression @ posed["vertices"].numpy()


def print_errors(model: Anny, sample: Sample, fixture: Path | None) -> None:
    """How far tables are from anny: exact, with fewer pairs, and as shipped."""
    names, regression = regressor(model, sample.coefficients)
    truth = ask_anny(model, sample, regression)
    every = linearise(model, names, regression)
    tables = {"all pairs": tabulate(model, every, sample)}
    for smallest in (1e-3, 1e-4, SMALLEST_WEIGHT):
        thinned = without_small(every, smallest)
        tables[f"|c| > {smallest:g}"] = tabulate(model, thinned, sample)
    tables["as shipped"] = body_table()
    print(f"{len(truth.body)} bodies x {len(truth.turn)} poses: largest error in mm")
    for name, table in tables.items():
        head, keypoint = truth.error_mm(table)
        pairs = len(table.pair_bone)
        print(f"  {name:12} {pairs:4} pairs, heads {head:.2g}, keypoints {keypoint:.2g}")
    if fixture:
        arrays = {name: np.asarray(value) for name, value in vars(truth).items()}
        arrays |= {name: arrays[name].astype(np.float32) for name in arrays if name != "body"}
        with atomic(fixture) as temporary:
            np.savez_compressed(temporary, keypoints=np.array(names), **arrays)
        print(f"{fixture}: {fixture.stat().st_size / 1e3:.0f} kB")


def print_bodies(table: BodyTable) -> None:
    """Stature of every group, and segments of adults by joint centres and by keypoints."""
    female = table.sex > 0.5
    print("stature in m, mean and sd (male, female)")
    for group in GROUPS:
        print(f"  {group:14}", *_spread(table.stature_m, table.group == group, female))
    rest = np.eye(3)[None, None].repeat(len(table.bones), axis=1)
    places = [_named(table, body, rest) for body in range(len(female))]
    for kind, name in enumerate(("joint centres", "keypoints")):
        print(f"segments of adults between {name} in units of stature (male, female)")
        for segment, (start, end) in SEGMENTS.items():
            away = np.concatenate([at[kind][start] - at[kind][end] for at in places])
            ratio = np.linalg.norm(away, axis=-1) / table.stature_m
            print(f"  {segment:14}", *_spread(ratio, table.group == "adult", female))


def _spread(value: Array, rows: NDArray[np.bool_], female: NDArray[np.bool_]) -> list[str]:
    both = (value[rows & ~female], value[rows & female])
    return [f"{x.mean():.3f} ± {x.std():.3f}" for x in both]


def print_gaps(table: BodyTable) -> None:
    """Distance between COCO's point and the joint centre of the same name, in moving people."""
    rng = np.random.default_rng(SEED)
    norms: dict[str, list[Array]] = {joint: [] for joint in JOINTS}
    for body in range(len(table.sex)):
        centres, points = _named(table, body, moving_poses(table, rng))
        for joint, values in norms.items():
            gap = points[f"left_{joint}"] - centres[f"left_{joint}"]
            values.append(np.linalg.norm(gap, axis=-1) / table.stature_m[body] * TALL_M * 1e3)
    print(f"COCO's point to joint centre in mm at {TALL_M} m, mean and sd over bodies and poses")
    for joint, values in norms.items():
        print(f"  {joint:9} {np.mean(values):5.1f} ± {np.std(values):.1f}")


def _named(table: BodyTable, body: int, turn: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """Joint centres and keypoints (T, 3) by name."""
    heads, points = table.posed(body, turn)
    centres = {
        f"{side.lower()}_{joint}": heads[:, table.index(side + bone)]
        for side in ("Left", "Right")
        for joint, bone in JOINTS.items()
    }
    return centres, dict(zip(table.keypoints, points.swapaxes(0, 1), strict=True))


def main() -> None:
    """Check the table that comes with the package."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fixture", type=Path, help="where to keep anny's answers for a test")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model()
    print_errors(model, draw(model), args.fixture)
    print_bodies(body_table())
    print_gaps(body_table())


if __name__ == "__main__":
    main()
