"""Evolution of poses and windows, and the joint limits that it keeps."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from poselift.errors import InputError, ShapeError
from poselift.geometry import unit
from poselift.train.archives import clip_files, folders, read_clip, read_index
from poselift.train.bodies import alignment, body_table
from poselift.train.clips import split_of
from poselift.train.evolve import (
    ROOTS,
    EvolveConfig,
    crossover,
    evolve,
    grow,
    to_global,
    to_local,
)
from poselift.train.flesh import BONE_SOURCE, ROTATIONS, to_flesh
from poselift.train.limits import CHECKED, COARSE_DEG, FINE_DEG, Limits, Sphere, limits_on
from poselift.train.synth import rotation_vector_to_matrix

CPU = torch.device("cpu")
TABLE = body_table()
LIMITS = limits_on(CPU)
EVERYBODY = EvolveConfig(share=1.0)
UNCHECKED = replace(EVERYBODY, frames_possible=0.0)
# All that changes a clip is off: tests switch on what they look at.
STILL = replace(UNCHECKED, local_chance=0.0, global_chance=0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def t_pose() -> Tensor:
    """(31, 3, 3): arms out, legs down, of the first body."""
    zero = {}
    for bone in TABLE.bones:
        side = 1.0 if bone.startswith("L") else -1.0
        plain = bone.removeprefix("Left").removeprefix("Right")
        limb = {"UpLeg": (0.1 * side, 0, -1), "Leg": (0.1 * side, 0, -1), "Foot": (0, -1, -0.2)}
        arm = (side, 0, 0) if plain in ("Arm", "ForeArm", "Hand") else (0, 0, 1)
        zero[bone] = unit(np.array(limb.get(plain, arm), float))
    return torch.as_tensor(alignment(TABLE, zero)[0], dtype=torch.float32)


def below(bone: str) -> list[int]:
    """A bone and all that hang on it."""
    out = [TABLE.index(bone)]
    for index, parent in enumerate(TABLE.parents):
        if parent in out:
            out.append(index)
    return out


def bent(pose: Tensor, **turns_deg: tuple[float, float, float]) -> Tensor:
    """A pose with bones, and what hangs on them, turned about world axes: left, back, up."""
    pose = pose.clone()
    for bone, vector in turns_deg.items():
        pose[below(bone)] = (
            rotation_vector_to_matrix(torch.tensor(vector).deg2rad()) @ pose[below(bone)]
        )
    return pose


def standing() -> Tensor:
    return bent(t_pose(), LeftArm=(0.0, 75.0, 0.0), RightArm=(0.0, -75.0, 0.0))


def sitting() -> Tensor:
    thighs = {f"{side}UpLeg": (-80.0, 0.0, 0.0) for side in ("Left", "Right")}
    shanks = {f"{side}Leg": (80.0, 0.0, 0.0) for side in ("Left", "Right")}
    return bent(standing(), **thighs, **shanks)


def bad(pose: Tensor) -> set[str]:
    """Names of the bones that are not possible."""
    possible = LIMITS.possible(pose)
    return {name for name, fine in zip(CHECKED, possible.tolist(), strict=True) if not fine}


def crowd(count: int = 64, frames: int = 5) -> Tensor:
    """Windows of standing and sitting people who face anywhere and sway a little."""
    g = generator(7)
    pose = torch.stack([standing(), sitting()]).repeat(count // 2, 1, 1, 1)[:, None]
    small = 0.02 * torch.randn(count, 1, 31, 3, generator=g)
    sway = torch.linspace(0, 1, frames)[:, None, None] * small if frames > 1 else small
    heading = torch.zeros(count, 1, 1, 3)
    heading[..., 2] = 6 * torch.rand(count, 1, 1, generator=g)
    return rotation_vector_to_matrix(heading) @ pose @ rotation_vector_to_matrix(sway)


def anything(count: int = 8, frames: int = 3) -> Tensor:
    return rotation_vector_to_matrix(torch.randn(count, frames, 31, 3, generator=generator(3)))


def angle_deg(rotation: Tensor) -> Tensor:
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.acos(((trace - 1) / 2).clamp(-1, 1)).rad2deg()


# ---------------------------------------------------------------------------------- limits
@pytest.mark.parametrize("step_deg", [FINE_DEG, COARSE_DEG])
def test_directions_lie_in_the_bin_whose_middle_is_near(step_deg):
    sphere = Sphere(step_deg, CPU)
    middle = sphere.centres()
    assert torch.equal(sphere.bin(middle), torch.arange(sphere.bins))
    direction = torch.nn.functional.normalize(torch.randn(5000, 3, generator=generator()), dim=-1)
    cosine = (direction * middle[sphere.bin(direction)]).sum(-1)
    assert torch.acos(cosine.clamp(-1, 1)).rad2deg().max() < 0.85 * step_deg
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [-1.0, -0.0, 0.0]])
    assert sphere.bin(poles).amin() >= 0
    assert sphere.bin(poles).amax() < sphere.bins


def test_everyday_poses_are_possible():
    for pose in (standing(), sitting(), t_pose()):
        assert bad(pose) == set()
    # With the arms out, captured elbows bend forward and up.
    for deg in (30.0, 60.0, 90.0, 120.0):
        left, right = (0.0, -0.5 * deg, -0.87 * deg), (0.0, 0.5 * deg, 0.87 * deg)
        assert bad(bent(t_pose(), LeftForeArm=left, RightForeArm=right)) == set()


@pytest.mark.parametrize(
    ("bone", "vector", "name"),
    [
        ("LeftLeg", (-20.0, 0.0, 0.0), "left_shank"),  # a knee that bends forward
        ("RightLeg", (-40.0, 0.0, 0.0), "right_shank"),
        ("LeftLeg", (0.0, 60.0, 0.0), "left_shank"),  # ... and sideways
        ("LeftForeArm", (0.0, 10.0, 17.0), "left_forearm"),  # an elbow that bends backward
        ("RightForeArm", (0.0, -10.0, -17.0), "right_forearm"),
        ("LeftUpLeg", (110.0, 0.0, 0.0), "left_thigh"),  # a thigh up behind the back
        ("RightUpLeg", (0.0, -100.0, 0.0), "right_thigh"),  # ... and through the other one
        ("LeftArm", (0.0, 0.0, 130.0), "left_upper_arm"),  # an upper arm behind the spine
        ("RightArm", (0.0, 0.0, -130.0), "right_upper_arm"),
        ("Neck", (110.0, 0.0, 0.0), "head"),
        ("LowerBack", (-90.0, 0.0, 0.0), "spine"),  # doubled up backward
        ("LowerBack", (0.0, 0.0, 120.0), "girdle"),  # an owl's spine
    ],
)
def test_impossible_bones_are_found(bone, vector, name):
    assert name in bad(bent(t_pose() if "Arm" in bone else standing(), **{bone: vector}))


def test_left_and_right_have_the_same_limits():
    pose = anything(200, 1)[:, 0]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    twin = []
    for bone in TABLE.bones:
        other = bone
        for ours, theirs in (("Left", "Right"), ("Right", "Left"), ("LH", "RH"), ("RH", "LH")):
            if bone.startswith(ours):
                other = theirs + bone.removeprefix(ours)
                break
        twin.append(TABLE.bones.index(other) if other in TABLE.bones else TABLE.index(bone))
    mirrored = flip[:, None] * pose[:, twin] * flip
    names = list(CHECKED)
    left = LIMITS.possible(pose)[:, names.index("left_shank")]
    right = LIMITS.possible(mirrored)[:, names.index("right_shank")]
    # Rest directions of the two sides differ by their rounding: bins at an edge may differ.
    assert (left != right).sum() <= 2
    assert left.any()


def test_limits_learned_from_poses_allow_them_and_little_else():
    path = Path(__file__).parents[2] / "scripts" / "learn_limits.py"
    spec = importlib.util.spec_from_file_location("learn_limits", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    poses = torch.stack([standing(), standing(), sitting(), sitting()])
    limits = Limits(script.learn(poses), CPU)
    assert limits.possible(poses).all()
    turned = bent(standing(), LeftArm=(0.0, -30.0, 0.0))
    assert bad(turned) == set()
    assert not limits.possible(turned)[list(CHECKED).index("left_upper_arm")]


@pytest.mark.skipif(
    "POSELIFT_MOCAP" not in os.environ, reason="POSELIFT_MOCAP names no folder of mocap archives"
)
def test_training_poses_are_possible():
    source = Path(os.environ["POSELIFT_MOCAP"])
    archive, folder = next(iter(folders(source, ("cmu_asfamc",), None)))
    clips = clip_files(folder, archive, read_index(source / "index.csv"))
    clips = [clip for clip in clips if split_of(clip.subject) == 0][::25]
    rows = [ROTATIONS.index(name) for name in BONE_SOURCE.values()]
    share = []
    for number, clip in enumerate(clips):
        flesh = to_flesh(read_clip(clip).every(4))
        zero = dict(zip(TABLE.bones, flesh.zero_direction[rows], strict=True))
        body = alignment(TABLE, zero)[number % len(TABLE.head_m)]
        share.append(LIMITS.possible(torch.as_tensor(flesh.rotation[2:, rows] @ body)).all(-1))
    assert torch.cat(share).double().mean() > 0.99


# ------------------------------------------------------------------------------- operators
def test_local_rotations_go_there_and_back():
    turn = anything()
    assert torch.allclose(to_global(to_local(turn)), turn, atol=1e-5)


def test_swapping_twice_is_nothing_and_once_exchanges():
    local = to_local(anything())
    swapped = torch.zeros(8, 31, dtype=torch.bool)
    swapped[[0, 4]] = torch.tensor([bone in below("LeftArm") for bone in range(31)])
    once = crossover(local, swapped)
    arm = TABLE.index("LeftArm")
    assert torch.equal(once[0, :, arm], local[4, :, arm])
    assert torch.equal(once[4, :, arm], local[0, :, arm])
    assert torch.equal(once[1], local[1])
    assert torch.equal(crossover(once, swapped), local)


def test_without_a_share_nothing_happens():
    turn = crowd()
    evolved = evolve(turn, replace(EVERYBODY, share=0.0), generator())
    assert torch.equal(evolved.turn, turn)
    assert not evolved.offspring.any()
    assert torch.equal(evolved.source[:, 5], torch.arange(len(turn)))


def test_fathers_and_mothers_are_disjoint_pairs_that_exchange_one_subtree():
    turn = anything(40)
    evolved = evolve(turn, replace(STILL, share=0.5), generator())
    own = torch.arange(40)[:, None]
    assert evolved.offspring.sum() == 20
    mate = torch.where(evolved.source != own, evolved.source, -1).amax(1)
    pairs = evolved.offspring.nonzero()[:, 0]
    assert torch.equal(mate[mate[pairs]], pairs)
    assert (mate[~evolved.offspring] == -1).all()
    trees = [sorted({bone for root in roots for bone in below(root)}) for roots in ROOTS.values()]
    local, before = to_local(evolved.turn), to_local(turn)
    for clip in pairs.tolist():
        bones = (evolved.source[clip] != clip).nonzero()[:, 0].tolist()
        assert bones in trees
        expected = before[clip].clone()
        expected[:, bones] = before[mate[clip], :, bones]
        assert torch.allclose(local[clip], expected, atol=1e-5)


def test_every_limb_is_exchanged_but_never_the_head_alone():
    evolved = evolve(anything(400, 1), STILL, generator())
    sets = {
        tuple(row.nonzero()[:, 0].tolist()) for row in evolved.source != torch.arange(400)[:, None]
    }
    assert len(sets) == len(ROOTS)
    head, spine = TABLE.index("Head"), TABLE.index("Spine")
    assert all(spine in bones for bones in sets if head in bones)


def test_mates_have_like_frame_steps():
    dt_s = torch.linspace(0.02, 0.05, 64)[torch.randperm(64, generator=generator(1))]
    evolved = evolve(anything(64), STILL, generator(), dt_s=dt_s)
    gap = (dt_s[evolved.source] - dt_s[:, None]).abs().amax()
    assert gap < 1.01 * 0.03 / 63


def test_offspring_are_rotations_and_move_smoothly():
    turn = crowd(frames=20)
    config = replace(UNCHECKED, local_chance=1.0, global_chance=1.0)
    evolved = evolve(turn, config, generator())
    eye = evolved.turn @ evolved.turn.transpose(-1, -2)
    assert torch.allclose(eye, torch.eye(3).expand_as(eye), atol=1e-5)
    assert torch.allclose(torch.linalg.det(evolved.turn), torch.ones(64, 20, 31), atol=1e-5)
    assert angle_deg(evolved.turn[:, 0] @ turn[:, 0].transpose(-1, -2)).mean() > 10
    step = to_local(evolved.turn)
    # sd 10 degrees half a cycle a window: at most some two degrees a frame; captures sway 0.1.
    assert angle_deg(step[:, 1:] @ step[:, :-1].transpose(-1, -2)).max() < 6


def test_only_exchanged_bones_mutate_by_what_is_asked():
    turn = standing().expand(2000, 1, 31, 3, 3)
    config = replace(STILL, local_chance=0.3)
    evolved = evolve(turn, config, generator())
    change = angle_deg(to_local(evolved.turn)[:, 0] @ to_local(turn)[:, 0].transpose(-1, -2))
    swapped = evolved.source != torch.arange(2000)[:, None]
    assert change[~swapped].max() < 0.2
    arm = TABLE.index("LeftForeArm")
    mutated = change[swapped[:, arm], arm]
    assert (mutated > 0.2).double().mean() == pytest.approx(0.3, abs=0.05)
    assert mutated[mutated > 0.2].square().mean().sqrt() == pytest.approx(10, rel=0.15)
    hand = TABLE.index("LeftHand")
    assert change[:, hand].max() < 0.2  # follows the forearm


def test_the_same_seed_gives_the_same_clips():
    turn = crowd()
    first, again, other = (evolve(turn, EVERYBODY, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.turn, again.turn)
    assert torch.equal(first.source, again.source)
    assert not torch.equal(first.turn, other.turn)


@pytest.mark.parametrize("frames", [1, 9])
def test_impossible_offspring_give_way_to_their_parents(frames):
    turn = crowd(frames=frames)
    evolved = evolve(turn, replace(EVERYBODY, local_deg=60.0, local_chance=1.0), generator())
    born = evolved.offspring
    assert 0 < born.sum() < len(turn)
    assert torch.equal(evolved.turn[~born], turn[~born])
    assert LIMITS.possible(evolved.turn[born]).all(-1).double().mean() > 0.97
    one = evolve(turn, replace(EVERYBODY, local_deg=60.0, local_chance=1.0, tries=1), generator())
    assert one.offspring.sum() < born.sum()


def test_wrong_shapes_are_named():
    with pytest.raises(ShapeError, match="31, 3, 3"):
        evolve(torch.eye(3).expand(4, 31, 3, 3), EVERYBODY, generator())


# ------------------------------------------------------------------- the official code's ways
def share_born(pose: Tensor, config: EvolveConfig) -> float:
    """Which share of 200 like poses, nothing but swapped, have offspring."""
    evolved = evolve(pose.expand(200, 1, 31, 3, 3), config, generator())
    return float(evolved.offspring.double().mean())


CHECKED_STILL = replace(STILL, frames_possible=1.0)


def test_official_code_never_rejects_what_hangs_on_the_trunk():
    thigh = bent(standing(), LeftUpLeg=(110.0, 0.0, 0.0), LeftLeg=(-110.0, 0.0, 0.0))
    assert {"left_thigh"} <= bad(thigh) <= {"left_thigh", "left_shank"}
    arm = bent(standing(), Neck=(110.0, 0.0, 0.0))
    assert bad(arm) == {"head"}
    assert share_born(arm, CHECKED_STILL) == 0
    assert share_born(arm, replace(CHECKED_STILL, trunk_bones_pass=True)) == 1
    knee = bent(standing(), LeftLeg=(-40.0, 0.0, 0.0))
    assert share_born(knee, replace(CHECKED_STILL, trunk_bones_pass=True)) == 0


def test_fewer_possible_bones_can_be_enough():
    knee = bent(standing(), LeftLeg=(-40.0, 0.0, 0.0))
    assert bad(knee) == {"left_shank"}
    assert share_born(knee, replace(CHECKED_STILL, bones_possible=10)) == 1
    assert share_born(knee, replace(CHECKED_STILL, bones_possible=11)) == 0


def test_paper_bones_leave_the_spine_unchecked():
    owl = bent(standing(), LowerBack=(0.0, 0.0, 120.0))
    assert bad(owl) == {"girdle"}
    assert share_born(owl, CHECKED_STILL) == 0
    assert share_born(owl, replace(CHECKED_STILL, paper_bones=True)) == 1


def test_paper_roots_leave_the_trunk_where_it_is():
    spine = TABLE.index("Spine")
    turn, own = anything(200, 1), torch.arange(200)
    ours = evolve(turn, STILL, generator()).source[:, spine]
    paper = evolve(turn, replace(STILL, paper_roots=True), generator()).source[:, spine]
    assert (ours != own).any()
    assert torch.equal(paper, own)


@pytest.mark.parametrize(("ignored", "spread"), [(False, 30.0), (True, 60.0)])
def test_official_global_rotation_is_60_degrees_whatever_is_asked(ignored, spread):
    turn = standing().expand(4000, 1, 31, 3, 3)
    config = replace(STILL, global_chance=1.0, global_deg_ignored=ignored)
    change = evolve(turn, config, generator()).turn[:, 0] @ turn[:, 0].transpose(-1, -2)
    angle = angle_deg(change[:, 0])
    assert angle.mean() == pytest.approx(spread * np.sqrt(2 / np.pi), rel=0.04)
    assert (angle_deg(change) - angle[:, None]).abs().max() < 0.5  # one rotation for all bones


def test_official_rotations_are_about_coordinate_axes():
    turn = standing().expand(200, 1, 31, 3, 3)
    for coordinate in (False, True):
        config = replace(STILL, global_chance=1.0, coordinate_axes=coordinate)
        change = evolve(turn, config, generator()).turn[:, 0, 0] @ turn[:, 0, 0].transpose(-1, -2)
        kept = (change.diagonal(dim1=-2, dim2=-1) > 1 - 1e-4).any(-1).double().mean()
        assert (kept == 1) if coordinate else (kept < 0.1)


def test_without_cycles_a_mutation_stays():
    still = standing().expand(100, 12, 31, 3, 3)
    for cycles, least, most in ((0.0, 0.0, 0.2), (0.5, 0.5, 20.0)):
        config = replace(UNCHECKED, local_chance=1.0, local_cycles=cycles)
        turn = evolve(still, config, generator()).turn
        step = angle_deg(turn[:, 1:] @ turn[:, :-1].transpose(-1, -2)).max()
        assert least <= step < most


def test_faithful_switches_every_option():
    ours, theirs = EvolveConfig(), EvolveConfig.faithful()
    switched = {name for name in vars(ours) if vars(ours)[name] != vars(theirs)[name]}
    options = {"paper_roots", "paper_bones", "trunk_bones_pass", "global_deg_ignored"}
    assert switched >= options | {"coordinate_axes", "bones_possible", "tries", "local_cycles"}
    assert not any(vars(ours)[name] for name in options)
    assert theirs.share == ours.share == 0.1


# ------------------------------------------------------------------------------ generations
def test_a_population_grows_to_the_factor():
    poses, steps = crowd(200, 1)[:, 0], []
    grown = grow(poses, 1.5, EvolveConfig(), generator(), progress=lambda *now: steps.append(now))
    assert 300 <= len(grown) < 340
    assert torch.equal(grown[:200], poses)
    assert LIMITS.possible(grown[200:]).all(-1).double().mean() > 0.98  # rounding at bins' edges
    assert [step[0] for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][1:] == (len(grown), 300)
    assert torch.equal(grown, grow(poses, 1.5, EvolveConfig(), generator()))
    fresh = torch.cdist(grown[200:].flatten(1), poses.flatten(1)).amin(1)
    assert (fresh > 0.1).double().mean() > 0.5


def test_a_barren_population_is_an_error():
    knee = bent(standing(), LeftLeg=(-90.0, 0.0, 0.0), RightLeg=(-90.0, 0.0, 0.0))
    with pytest.raises(InputError, match="none in 100 generations"):
        grow(knee.expand(20, 31, 3, 3), 2.0, replace(CHECKED_STILL, share=0.2), generator())
