"""Sample bodies from anny and collapse them into the table that training poses.

Keypoint regressor and skinning are both linear, so that no vertex is needed:

    keypoint k = sum over bones j of  R_j (p_kj - c_kj h_j) + c_kj q_j

with R_j the rotation of bone j from its rest pose, h_j its rest head, q_j its posed head, and
c_kj = sum_v w_kv s_vj, p_kj = sum_v w_kv s_vj x_v over the vertices x_v of regressor weights w and
skinning weights s. Vertices and heads are linear in anny's shape coefficients, and so are p and h.

    python scripts/build_bodies.py    # writes src/poselift/train/bodies.npz
    python scripts/check_bodies.py    # compares it with anny's full model

Needs anny (not a dependency of poselift), which fills ~/.cache/anny when it runs first (a minute).
"""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from anny import Anny
from anny.keypoints import KeypointsRegressor
from anny.shape_distribution import SimpleShapeDistribution
from numpy.typing import NDArray

from poselift.io.files import atomic
from poselift.train.bodies import BodyTable

Array = NDArray[np.float64]

TABLE = Path("src/poselift/train/bodies.npz")
SEED = 20
# Ages in years and bodies of each sex: 65 % adults, 15 % seniors, 10 % teens, 10 % children.
GROUPS = {
    "child": (2, 12, 26),
    "teen": (12, 18, 26),
    "adult": (18, 65, 166),
    "senior": (65, 90, 38),
}
SEXES = {0: (0.0, 0.1), 1: (0.9, 1.0)}  # the range of anny's gender for males and females
HELD_OUT = 0.1  # of every group and sex, once for validation and once for testing
SMALLEST_WEIGHT = 1e-5  # 78 of 134 pairs stay, a keypoint moves by 0.005 mm at most
STEP_M = 2.0**-20  # stored positions are multiples of a micrometre, which compresses better
AT_ONCE = 32  # bodies whose meshes are in memory together


@dataclass(frozen=True)
class Sample:
    """S bodies drawn from anny's calibrated distribution, by group, then sex."""

    coefficients: Array  # (S, A)
    sex: Array  # (S,) 0 male to 1 female
    age_years: Array  # (S,)
    group: NDArray[np.str_]  # (S,)
    split: NDArray[np.int8]  # (S,)


@dataclass(frozen=True)
class Linear:
    """What keypoints and bones depend on, linear in A shape coefficients; metres.

    The first entry along A + 1 is the template, the rest is added times the coefficients.
    """

    keypoints: tuple[str, ...]
    pair_keypoint: NDArray[np.int64]  # (P,)
    pair_bone: NDArray[np.int64]  # (P,)
    weight: Array  # (P,) c above
    point_m: Array  # (A + 1, P, 3) p above
    head_m: Array  # (A + 1, 31, 3)
    tail_m: Array  # (A + 1, 31, 3)


def load_model() -> Anny:
    """Anny with the skeleton of the CMU motion capture, in double precision."""
    model = Anny(rig="cmu_mb", phenotypes="default", skinning_method="lbs")
    return model.to(dtype=torch.float64)


def draw(model: Anny) -> Sample:
    """Bodies of every group and sex."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    coefficients, sex, age, group, split = [], [], [], [], []
    for name, (youngest, oldest, count) in GROUPS.items():
        for genders in SEXES.values():
            ages = torch.distributions.Uniform(*torch.tensor([youngest, oldest], dtype=model.dtype))
            gender = torch.distributions.Uniform(*torch.tensor(genders, dtype=model.dtype))
            years, phenotype = SimpleShapeDistribution(model, ages, gender).sample(count)
            coefficients.append(model.get_phenotype_blendshape_coefficients(**phenotype).numpy())
            sex.append(phenotype["gender"].numpy())
            age.append(years.numpy())
            group.append(np.full(count, name))
            held_out = round(HELD_OUT * count)
            splits = np.repeat([0, 1, 2], [count - 2 * held_out, held_out, held_out])
            split.append(rng.permutation(splits.astype(np.int8)))
    return Sample(*(np.concatenate(part) for part in (coefficients, sex, age, group, split)))


def meshes(model: Anny, coefficients: Array) -> Iterator[Array]:
    """Rest meshes (up to AT_ONCE, V, 3) of the bodies."""
    for chunk in torch.tensor(coefficients).split(AT_ONCE):
        yield model.get_rest_vertices(chunk).numpy()


def regressor(model: Anny, coefficients: Array) -> tuple[list[str], Array]:
    """Names and weights (K, V): anny's COCO-17 and feet, the highest vertex of the mean body."""
    coco = KeypointsRegressor.coco(model)
    mean = model.get_rest_vertices(torch.tensor(coefficients.mean(axis=0, keepdims=True)))[0]
    top = torch.zeros(1, len(mean), dtype=mean.dtype)
    top[0, mean[:, 2].argmax()] = 1
    weights = torch.cat([coco.regression_weights, top]).numpy()
    return [*coco.labels, "head_top"], weights / weights.sum(axis=1, keepdims=True)


def linearise(model: Anny, keypoints: list[str], regression: Array) -> Linear:
    """All (keypoint, bone) pairs of the model, see the head of this file."""
    skinning = model.dense_vertex_bone_weights.numpy()
    weight = regression @ skinning
    keypoint, bone = np.nonzero(weight)
    share = regression[keypoint] * skinning[:, bone].T  # (P, V)

    def stack(template: torch.Tensor, blendshapes: torch.Tensor) -> Array:
        return torch.cat([template[None], blendshapes]).numpy()

    vertices = stack(model.template_vertices, model.blendshapes)
    return Linear(
        keypoints=tuple(keypoints),
        pair_keypoint=keypoint,
        pair_bone=bone,
        weight=weight[keypoint, bone],
        point_m=np.stack([share @ shape for shape in vertices]),
        head_m=stack(model.template_bone_heads, model.bone_heads_blendshapes),
        tail_m=stack(model.template_bone_tails, model.bone_tails_blendshapes),
    )


def without_small(linear: Linear, smallest: float) -> Linear:
    """Give the pairs of small weight to the heaviest pair of their keypoint.

    This keeps the rest pose and the sum of the weights exactly.
    """
    size = np.abs(linear.weight)
    kept = np.flatnonzero(size > smallest)
    move = np.zeros((len(size), len(kept)))
    for pair, keypoint in enumerate(linear.pair_keypoint):
        same = np.flatnonzero(linear.pair_keypoint == keypoint)
        target = pair if pair in kept else same[np.argmax(size[same])]
        move[pair, np.searchsorted(kept, target)] = 1
    return replace(
        linear,
        pair_keypoint=linear.pair_keypoint[kept],
        pair_bone=linear.pair_bone[kept],
        weight=linear.weight @ move,
        point_m=np.einsum("apc,pk->akc", linear.point_m, move),
    )


def tabulate(model: Anny, linear: Linear, sample: Sample) -> BodyTable:
    """The table of sampled bodies, double precision, `stature_m` and `radius_m` still missing."""
    factors = np.concatenate([np.ones((len(sample.sex), 1)), sample.coefficients], axis=1)
    point, head, tail = (
        np.tensordot(factors, part, axes=1)
        for part in (linear.point_m, linear.head_m, linear.tail_m)
    )
    return BodyTable(
        bones=tuple(model.bone_labels),
        parents=tuple(model.bone_parents),
        keypoints=linear.keypoints,
        pair_keypoint=linear.pair_keypoint,
        pair_bone=linear.pair_bone,
        pair_weight=linear.weight,
        pair_local_m=point - linear.weight[:, None] * head[:, linear.pair_bone],
        head_m=head,
        tail_m=tail,
        radius_m=np.full(head.shape[:2], np.nan),
        stature_m=np.full(len(head), np.nan),
        sex=sample.sex,
        age_years=sample.age_years,
        group=sample.group,
        split=sample.split,
    )


def flesh_areas(model: Anny, mesh_m: Array) -> Array:
    """Skin (31, V) that hangs on each bone most, as its vertices' areas, of one body (V, 3)."""
    faces = model.get_triangular_faces().numpy()
    a, b, c = (mesh_m[faces[:, corner]] for corner in range(3))
    third = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 6
    area = np.bincount(faces.ravel(), np.repeat(third, 3), minlength=len(mesh_m))
    bone = model.dense_vertex_bone_weights.numpy().argmax(axis=1)
    return area * (bone == np.arange(len(model.bone_labels))[:, None])


def measured(model: Anny, table: BodyTable, coefficients: Array) -> BodyTable:
    """The table with stature and radii, which are measured on the meshes."""
    areas = flesh_areas(model, next(meshes(model, coefficients.mean(axis=0, keepdims=True)))[0])
    axis = table.tail_m - table.head_m
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    radius, stature, first = np.zeros(axis.shape[:2]), [], 0
    for mesh in meshes(model, coefficients):
        rows = slice(first, first + len(mesh))
        first += len(mesh)
        stature.append(np.ptp(mesh[..., 2], axis=1))
        for bone, area in enumerate(areas):
            flesh = np.flatnonzero(area)
            out = mesh[:, flesh] - table.head_m[rows, None, bone]
            away = np.linalg.norm(np.cross(out, axis[rows, None, bone]), axis=-1)
            radius[rows, bone] = away @ area[flesh] / area.sum()
    return replace(table, stature_m=np.concatenate(stature), radius_m=radius)


def save(table: BodyTable, path: Path) -> None:
    """Write the table and print its size and digest."""
    arrays = {name: np.asarray(value) for name, value in vars(table).items()}
    for name, value in arrays.items():
        if name.endswith("_m"):
            value = np.round(value / STEP_M) * STEP_M
        if value.dtype == np.float64:
            arrays[name] = value.astype(np.float32)
    source = (
        f"anny {version('anny')} (Apache-2.0, NAVER; MakeHuman data CC0), rig cmu_mb, default "
        f"phenotypes, linear blend skinning, SimpleShapeDistribution with seed {SEED}; "
        + ", ".join(f"2 x {count} {low}-{high} years" for low, high, count in GROUPS.values())
        + "; scripts/build_bodies.py; x left, y back, z up; metres"
    )
    with atomic(path) as temporary:
        np.savez_compressed(temporary, source=np.array(source), **arrays)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: {len(table.sex)} bodies, {path.stat().st_size / 1e3:.0f} kB, sha256 {digest}")


def main() -> None:
    """Build the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=TABLE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model()
    sample = draw(model)
    linear = linearise(model, *regressor(model, sample.coefficients))
    table = tabulate(model, without_small(linear, SMALLEST_WEIGHT), sample)
    save(measured(model, table, sample.coefficients), args.out)


if __name__ == "__main__":
    main()
