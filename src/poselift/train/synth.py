"""Random virtual cameras: world motion to camera axes and image, batched torch.

Image units: the longer image side is 1, the origin is the image centre, y points down. All
randomness comes from the generator that is passed in; numbers have torch's default precision.
Ranges: docs/training.md.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from poselift.camera import GUESSED_FOCAL

# World (x, y, z up) to the axes of a level camera that looks along world y.
_LEVEL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
_NEAREST_M = 0.5  # nothing of a person comes nearer to a camera


@dataclass(frozen=True)
class CameraConfig:
    """Ranges of the virtual cameras; angles in degrees, lengths in metres, times in seconds.

    Of all clips the share `handheld` has a camera that trembles and sways, the share `travelling`
    one that pans and is carried along; both tremble; the others stand still.
    """

    view_deg: tuple[float, float] = (30.0, 100.0)  # log-uniform, along the longer image side
    pitch_deg: tuple[float, float] = (8.0, 20.0)  # mean, sd; positive looks down
    roll_deg: float = 5.0
    tumble: float = 0.08  # share of clips with any roll at all: people who are upside down
    height_in_image: tuple[float, float] = (0.15, 1.1)  # of the image height, for a standing person
    aspects: tuple[float, ...] = (9 / 16, 16 / 9, 3 / 4, 1.0)  # height / width
    aspect_weights: tuple[float, ...] = (0.45, 0.2, 0.15, 0.2)
    off_centre: float = 0.7  # of the half image
    handheld: float = 0.3
    travelling: float = 0.25
    tremble_deg: float = 1.0
    sway_m: float = 0.03
    tremble_s: float = 0.5  # how fast it forgets
    pan_deg_s: float = 8.0
    travel_m_s: float = 0.25
    known: float = 0.4  # share of clips whose focal length is given (with 5 % error)


@dataclass(frozen=True)
class View:
    """What cameras see: `focal` and `guessed_focal` (B), half image sides (B, 2)."""

    R_world_to_camera: Tensor  # (B, F, 3, 3)
    t_world_to_camera_m: Tensor  # (B, F, 3)
    focal: Tensor
    guessed_focal: Tensor
    half_size: Tensor

    def to_camera(self, xyz_world_m: Tensor) -> Tensor:
        """World points (B, F, ..., 3) in camera axes."""
        flat = xyz_world_m.flatten(2, -2)
        turned = flat @ self.R_world_to_camera.transpose(-1, -2)
        return (turned + self.t_world_to_camera_m[:, :, None]).view_as(xyz_world_m)

    def to_image(self, xyz_camera_m: Tensor) -> Tensor:
        """Camera points (B, F, J, 3) as image points (B, F, J, 2)."""
        depth = xyz_camera_m[..., 2:].clamp_min(0.1)
        return self.focal[:, None, None, None] * xyz_camera_m[..., :2] / depth

    def to_rays(self, xy_image: Tensor) -> Tensor:
        """Image points as slopes, by the focal length that the lifter is told."""
        return xy_image / self.guessed_focal[:, None, None, None]


def uniform(shape: tuple[int, ...], low: float, high: float, g: torch.Generator) -> Tensor:
    """Uniform numbers on the generator's device."""
    return low + (high - low) * torch.rand(shape, device=g.device, generator=g)


def log_uniform(shape: tuple[int, ...], low: float, high: float, g: torch.Generator) -> Tensor:
    """Numbers whose logarithm is uniform, on the generator's device."""
    low, high = (torch.tensor(end, dtype=torch.float64).log().item() for end in (low, high))
    return uniform(shape, low, high, g).exp()


def normal(shape: tuple[int, ...], spread: float, g: torch.Generator) -> Tensor:
    """Normal numbers with mean 0 on the generator's device."""
    return spread * torch.randn(shape, device=g.device, generator=g)


def choice(weights: tuple[float, ...], count: int, g: torch.Generator) -> Tensor:
    """Indices (count) drawn by weight."""
    table = torch.tensor(weights, device=g.device)
    return torch.multinomial(table, count, replacement=True, generator=g)


def wander(
    shape: tuple[int, int, int], dt_s: Tensor, forget_s: float, g: torch.Generator
) -> Tensor:
    """Noise (B, F, C) of unit spread that forgets itself in `forget_s` (Ornstein-Uhlenbeck).

    dt_s (B). By one product with the process's triangular matrix, so without a loop over time.
    """
    frames = shape[1]
    keep = torch.exp(-dt_s / forget_s)[:, None, None]
    step = torch.arange(frames, device=g.device)
    lag = (step[:, None] - step[None])[None]
    mixing = torch.where(lag >= 0, keep ** lag.clamp_min(0), torch.zeros_like(keep))
    fresh = torch.where(step[:, None] > 0, (1 - keep**2).sqrt(), torch.ones_like(keep))
    return mixing @ (fresh * normal(shape, 1.0, g))


def random_view(joints_m: Tensor, dt_s: Tensor, config: CameraConfig, g: torch.Generator) -> View:
    """A camera for each clip of joints_m (B, F, J, 3) in the world; dt_s (B) is the frame step."""
    batch, frames = joints_m.shape[:2]
    middle = joints_m[:, frames // 2]
    origin = (middle.amin(1) + middle.amax(1)) / 2
    size = (middle - origin[:, None]).norm(dim=-1).amax(1) * 2

    focal = 0.5 / torch.tan(log_uniform((batch,), *config.view_deg, g).deg2rad() / 2)
    aspects = torch.tensor(config.aspects, device=g.device)
    aspect = aspects[choice(config.aspect_weights, batch, g)]
    half = 0.5 * torch.stack([(1 / aspect).clamp_max(1), aspect.clamp_max(1)], dim=1)

    share = uniform((batch,), *config.height_in_image, g)
    depth = focal * size / (share * 2 * half[:, 1])
    reach = config.off_centre
    offset = uniform((batch, 2), -reach, reach, g) * half * (1 - share[:, None]).clamp_min(0.1)
    place = torch.cat([offset * (depth / focal)[:, None], depth[:, None]], dim=1)

    guess = torch.full_like(focal, GUESSED_FOCAL)
    told = focal * torch.exp(normal((batch,), 0.05, g))
    known = uniform((batch,), 0, 1, g) < config.known
    rotation, shift = _carried(_still(batch, config, g), place, dt_s, frames, config, g)
    shift = shift - (rotation @ origin[:, None, :, None])[..., 0]
    shift = _far_enough(joints_m, rotation, shift)
    return View(rotation, shift, focal, torch.where(known, told, guess), half)


def _still(batch: int, config: CameraConfig, g: torch.Generator) -> Tensor:
    """World to camera (B, 3, 3) of cameras that stand still."""
    yaw = uniform((batch,), -torch.pi, torch.pi, g)
    mean, spread = config.pitch_deg
    pitch = (mean + normal((batch,), spread, g)).clamp(-70, 70).deg2rad()
    roll = normal((batch,), config.roll_deg, g).deg2rad()
    any_roll = uniform((batch,), -torch.pi, torch.pi, g)
    roll = torch.where(uniform((batch,), 0, 1, g) < config.tumble, any_roll, roll)
    zero = torch.zeros_like(yaw)
    level = torch.tensor(_LEVEL, device=g.device)
    about_up = rotation_vector_to_matrix(torch.stack([zero, zero, yaw], dim=-1))
    about_x = rotation_vector_to_matrix(torch.stack([pitch, zero, zero], dim=-1))
    about_z = rotation_vector_to_matrix(torch.stack([zero, zero, roll], dim=-1))
    return about_z @ about_x @ level @ about_up


def _carried(
    still: Tensor,
    place: Tensor,
    dt_s: Tensor,
    frames: int,
    config: CameraConfig,
    g: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Rotation (B, F, 3, 3) and position (B, F, 3) of what stood at `place` (B, 3), over time."""
    batch = len(still)
    kind = uniform((batch, 1, 1), 0, 1, g)
    travels = (kind < config.travelling).to(place.dtype)
    trembles = (kind < config.travelling + config.handheld).to(place.dtype)
    time = dt_s[:, None, None] * torch.arange(frames, device=g.device)[None, :, None]
    tremble = wander((batch, frames, 6), dt_s, config.tremble_s, g)
    pan = normal((batch, 1, 3), config.pan_deg_s, g) * torch.tensor([1.0, 1.0, 0.5]).to(g.device)
    travel = normal((batch, 1, 3), config.travel_m_s, g)
    turn_deg = travels * pan * time + trembles * config.tremble_deg * tremble[..., :3]
    moved_m = travels * travel * time + trembles * config.sway_m * tremble[..., 3:]
    # The camera turns about its own centre, so what it looks at turns with it.
    turn = rotation_vector_to_matrix(turn_deg.deg2rad())
    shift = (turn @ (place[:, None] + moved_m)[..., None])[..., 0]
    return turn @ still[:, None], shift


def _far_enough(joints_m: Tensor, rotation: Tensor, shift: Tensor) -> Tensor:
    """The shift with all joints at least `_NEAREST_M` before the camera, in every frame."""
    depth = (joints_m @ rotation[:, :, 2, :, None])[..., 0] + shift[:, :, 2:]
    nearest = depth.flatten(1).amin(1)
    back = (_NEAREST_M - nearest).clamp_min(0)
    return torch.cat([shift[..., :2], shift[..., 2:] + back[:, None, None]], dim=-1)


def rotation_vector_to_matrix(vector: Tensor) -> Tensor:
    """Rotation vectors (..., 3) in radians as matrices (..., 3, 3), through unit quaternions."""
    angle = vector.norm(dim=-1, keepdim=True)
    half_sinc = torch.sinc(angle / (2 * torch.pi)) / 2  # sin(angle / 2) / angle
    return quaternion_to_matrix(torch.cat([torch.cos(angle / 2), vector * half_sinc], dim=-1))


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Quaternions (..., 4) wxyz, normalised here, as matrices (..., 3, 3)."""
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
