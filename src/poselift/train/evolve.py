"""Evolution: new motions from limbs of known ones, batched torch (EvoSkeleton's operators).

Li et al., Cascaded Deep Monocular 3D Human Pose Estimation with Evolutionary Training Data, CVPR
2020. Pairs of windows exchange the local rotations of a limb over all frames (crossover), the
exchanged bones turn a little, seldom the whole body (mutation), and an offspring counts only where
its joints bend as joints do (`limits.py`). Single poses are windows of one frame.

    turn (B, F, 31, 3, 3)   each bone's flesh from the body's own rest pose, world axes; bones of
                            `bodies.body_table`. Bodies share a rest pose, so limbs fit each other.

The paper's mutation of bone lengths is `Bodies.segment_scales`, for evolved bodies and others
alike. All randomness comes from the generator that is passed in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from poselift.errors import InputError, ShapeError
from poselift.train.bodies import body_table
from poselift.train.limits import CHECKED, PAPER_BONES, TRUNK_CHECKED, Limits, limits_on
from poselift.train.synth import normal, rotation_vector_to_matrix, uniform

# What is exchanged: the bones at the root of it. The paper's ten (an arm hangs on its collar bone,
# as the bodies' do), and ours: all above the pelvis. A head never goes alone.
ROOTS = {
    "both_legs": ("LeftUpLeg", "RightUpLeg"),
    "right_leg": ("RightUpLeg",),
    "right_shank": ("RightLeg",),
    "left_leg": ("LeftUpLeg",),
    "left_shank": ("LeftLeg",),
    "both_arms": ("LeftShoulder", "RightShoulder"),
    "left_arm": ("LeftShoulder",),
    "left_forearm": ("LeftForeArm",),
    "right_arm": ("RightShoulder",),
    "right_forearm": ("RightForeArm",),
    "upper_body": ("LowerBack",),
}
PAPER_ROOTS = 10
# Bones that mutate by themselves; what hangs on them follows.
MUTABLE = (
    "LowerBack",
    *(f"{side}{bone}" for side in ("Left", "Right") for bone in ("Arm", "ForeArm", "UpLeg", "Leg")),
)
_OFFICIAL_GLOBAL_DEG = 60.0
_BARREN = 100  # generations without offspring after which `grow` gives up


@dataclass(frozen=True)
class EvolveConfig:
    """How clips evolve; angles in degrees.

    The fields from `paper_roots` on, all off by default, are ways of the official code: `faithful`.
    """

    share: float = 0.1  # of the clips that become parents, half fathers, half mothers
    local_chance: float = 0.3  # of each exchanged bone to mutate
    local_deg: float = 10.0
    local_cycles: float = 0.5  # a mutation sways at most so often in a window; 0: it stays
    global_chance: float = 0.1
    global_deg: float = 30.0
    tries: int = 2  # a rejected offspring is drawn anew, then its parent stays
    frames_possible: float = 0.97  # share of the frames that must be possible; 0: no check
    paper_roots: bool = False  # nothing above the pelvis is exchanged as a whole
    paper_bones: bool = False  # the trunk's own direction and twist are not checked
    bones_possible: int | None = None  # so many in a frame suffice (the paper's Th); None: all
    trunk_bones_pass: bool = False  # only forearms and shanks can be rejected (== for =)
    global_deg_ignored: bool = False  # the whole body turns by 60 degrees (sd) whatever is asked
    coordinate_axes: bool = False  # mutations turn about x, y or z only

    @classmethod
    def faithful(cls) -> "EvolveConfig":
        """What the official code does, its bugs included."""
        return cls(
            local_cycles=0.0,
            tries=1,
            frames_possible=1.0,
            paper_roots=True,
            paper_bones=True,
            bones_possible=PAPER_BONES,
            trunk_bones_pass=True,
            global_deg_ignored=True,
            coordinate_axes=True,
        )


@dataclass(frozen=True)
class Evolved:
    """Clips of which some are offspring now.

    source (B, 31): the clip whose motion each bone has, for what hangs on it (feet on the floor).
    """

    turn: Tensor  # (B, F, 31, 3, 3)
    offspring: Tensor  # bool (B)
    source: Tensor


def evolve(
    turn: Tensor,
    config: EvolveConfig,
    g: torch.Generator,
    *,
    dt_s: Tensor | None = None,
    limits: Limits | None = None,
) -> Evolved:
    """Clips (B, F, 31, 3, 3) with offspring in place of their parents, where they are possible.

    dt_s (B): frame steps; parents are then paired by nearly equal ones, so that an exchanged limb
    keeps its speed. limits: the packaged ones by default. Raises ShapeError.
    """
    _check(turn, ("B", "F"))
    clips = torch.arange(len(turn), device=turn.device)
    source = clips[:, None].expand(-1, turn.shape[2])
    offspring = torch.zeros_like(clips, dtype=torch.bool)
    parents = _parents(len(turn), config.share, dt_s, g)
    if len(parents):
        limits = limits or limits_on(turn.device)
        young, born, swapped = _breed(turn[parents], config, limits, g)
        mate = _mated(parents)
        turn = turn.index_copy(0, parents, young)
        offspring = offspring.index_copy(0, parents, born)
        of_mate = torch.where(swapped, mate[:, None], parents[:, None])
        source = source.index_copy(0, parents, of_mate)
    return Evolved(turn, offspring, source)


def grow(
    population: Tensor,
    factor: float,
    config: EvolveConfig,
    g: torch.Generator,
    *,
    limits: Limits | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> Tensor:
    """Poses (M, 31, 3, 3) grown from (N, 31, 3, 3) until M >= factor * N: the paper's loop.

    In each generation the possible offspring join the population, which begins the result.
    progress: called with the generation, how many poses there are and how many are wanted.
    Raises InputError where a hundred generations bring nothing, ShapeError.
    """
    _check(population, ("N",))
    limits = limits or limits_on(population.device)
    wanted, generation, barren = factor * len(population), 0, 0
    while len(population) < wanted:
        parents = _parents(len(population), config.share, None, g)
        young, born, _ = _breed(population[parents][:, None], config, limits, g)
        population = torch.cat([population, young[born, 0]])
        generation, barren = generation + 1, 0 if bool(born.any()) else barren + 1
        if barren == _BARREN:
            raise InputError(
                f"evolution of {len(population)} poses",
                expected="offspring that the joint limits allow",
                found=f"none in {barren} generations with share {config.share}",
            )
        if progress:
            progress(generation, len(population), int(wanted))
    return population


def to_local(turn: Tensor) -> Tensor:
    """Rotation of each bone's flesh as its parent's flesh sees it, (..., 31, 3, 3)."""
    parents = torch.as_tensor(body_table().parents[1:], device=turn.device)
    above = turn[..., parents, :, :].transpose(-1, -2)
    return torch.cat([turn[..., :1, :, :], above @ turn[..., 1:, :, :]], dim=-3)


def to_global(local: Tensor) -> Tensor:
    """The inverse of `to_local`."""
    turn = local.clone()
    for bones, parents in _levels():
        turn[..., bones, :, :] = turn[..., parents, :, :] @ local[..., bones, :, :]
    return turn


def crossover(local: Tensor, swapped: Tensor) -> Tensor:
    """Local rotations (2n, F, 31, 3, 3) after clip i and clip n + i exchange their swapped bones.

    swapped: bool (2n, 31), the same for both. Doing it twice undoes it.
    """
    return torch.where(swapped[:, None, :, None, None], _mated(local), local)


def _check(turn: Tensor, axes: tuple[str, ...]) -> None:
    bones = len(body_table().bones)
    if turn.ndim != len(axes) + 3 or turn.shape[-3:] != (bones, 3, 3):
        expected = f"({', '.join(axes)}, {bones}, 3, 3)"
        raise ShapeError("turned bones", expected=expected, found=tuple(turn.shape))


def _mated(pairs: Tensor) -> Tensor:
    """Rows (2n, ...) with both halves exchanged: what each one's mate has."""
    return pairs.roll(len(pairs) // 2, 0)


def _parents(count: int, share: float, dt_s: Tensor | None, g: torch.Generator) -> Tensor:
    """Which clips become parents (2n): n fathers, then their mothers, all different."""
    pairs = min(round(share * count / 2), count // 2)
    chosen = torch.randperm(count, device=g.device, generator=g)[: 2 * pairs]
    if dt_s is not None:
        chosen = chosen[dt_s[chosen].argsort(stable=True)]
    return torch.cat([chosen[0::2], chosen[1::2]])


def _breed(
    parents: Tensor, config: EvolveConfig, limits: Limits, g: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Offspring or else parents (2n, F, 31, 3, 3), which are born (2n), swapped bones (2n, 31)."""
    local = to_local(parents)
    turn, exchanged = parents, torch.zeros_like(parents[:, 0, :, 0, 0], dtype=torch.bool)
    born = torch.zeros_like(exchanged[:, 0])
    for _ in range(config.tries):
        swapped = _subtrees(turn.device)[_roots(len(parents) // 2, config, g)].repeat(2, 1)
        young = to_global(_mutate(crossover(local, swapped), swapped, config, g))
        young = _turn_around(young, config, g)
        fresh = _fit(young, config, limits) & ~born
        turn = torch.where(fresh[:, None, None, None, None], young, turn)
        exchanged = torch.where(fresh[:, None], swapped, exchanged)
        born = born | fresh
    return turn, born, exchanged


def _roots(pairs: int, config: EvolveConfig, g: torch.Generator) -> Tensor:
    choices = PAPER_ROOTS if config.paper_roots else len(ROOTS)
    return torch.randint(choices, (pairs,), device=g.device, generator=g)


def _mutate(local: Tensor, swapped: Tensor, config: EvolveConfig, g: torch.Generator) -> Tensor:
    """Turn some exchanged bones about axes of their parents: the same bones of both offspring.

    The angle is a slow sine wave of random phase; at each time it is normal with sd local_deg.
    """
    bones = torch.as_tensor([body_table().index(bone) for bone in MUTABLE], device=local.device)
    both, frames = len(local), local.shape[1]
    coin = uniform((both // 2, len(bones)), 0, 1, g) < config.local_chance
    coin = coin.repeat(2, 1) & swapped[:, bones]
    time = torch.arange(frames, device=local.device)[:, None] / frames
    cycles = uniform((both, 1, len(bones)), 0, config.local_cycles, g)
    cosine, sine = normal((2, both, 1, len(bones)), config.local_deg, g)
    phase = 2 * torch.pi * cycles * time
    angle = coin[:, None] * (cosine * torch.cos(phase) + sine * torch.sin(phase)).deg2rad()
    axis = _axes((both, 1, len(bones)), config, g)
    change = rotation_vector_to_matrix(angle[..., None] * axis).to(local.dtype)
    return local.index_copy(2, bones, change @ local[:, :, bones])


def _turn_around(turn: Tensor, config: EvolveConfig, g: torch.Generator) -> Tensor:
    """Turn some bodies as a whole about their root."""
    spread = _OFFICIAL_GLOBAL_DEG if config.global_deg_ignored else config.global_deg
    coin = uniform((len(turn), 1), 0, 1, g) < config.global_chance
    angle = coin * normal((len(turn), 1), spread, g).deg2rad()
    change = rotation_vector_to_matrix(angle * _axes((len(turn),), config, g)).to(turn.dtype)
    return change[:, None, None] @ turn


def _axes(shape: tuple[int, ...], config: EvolveConfig, g: torch.Generator) -> Tensor:
    """Random unit vectors (*shape, 3)."""
    if config.coordinate_axes:
        axis = torch.randint(3, shape, device=g.device, generator=g)
        return torch.eye(3, device=g.device)[axis]
    return torch.nn.functional.normalize(normal((*shape, 3), 1.0, g), dim=-1)


def _fit(turn: Tensor, config: EvolveConfig, limits: Limits) -> Tensor:
    """Which clips are possible in enough frames, bool (B)."""
    possible = limits.possible(turn)
    if config.trunk_bones_pass:
        trunk = torch.as_tensor([name in TRUNK_CHECKED for name in CHECKED], device=turn.device)
        possible = possible | trunk
    if config.paper_bones:
        possible = possible[..., :PAPER_BONES]
    needed = possible.shape[-1] if config.bones_possible is None else config.bones_possible
    frame = possible.sum(-1) >= needed
    return frame.to(turn.dtype).mean(1) >= config.frames_possible


@cache
def _subtrees(device: torch.device) -> Tensor:
    """The bones of each of ROOTS, bool (11, 31)."""
    table = body_table()
    out = torch.zeros(len(ROOTS), len(table.bones), dtype=torch.bool)
    for row, roots in enumerate(ROOTS.values()):
        for bone, parent in enumerate(table.parents):
            out[row, bone] = table.bones[bone] in roots or (parent >= 0 and bool(out[row, parent]))
    return out.to(device)


@cache
def _levels() -> list[tuple[list[int], list[int]]]:
    """Bones by their depth below the root, each with its parent."""
    parents, levels = body_table().parents, [[0]]
    while bones := [bone for bone, parent in enumerate(parents) if parent in levels[-1]]:
        levels.append(bones)
    return [(bones, [parents[bone] for bone in bones]) for bones in levels[1:]]
