"""Random virtual cameras: world motion to camera axes and image, batched torch.

Image units: the longer image side is 1, the origin is the image centre, y points down. All
randomness comes from the generator that is passed in. Ranges: docs/training.md.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from poselift.camera import GUESSED_FOCAL

# World (x, y, z up) to the axes of a level camera that looks along world y.
_LEVEL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class CameraConfig:
    """Ranges of the virtual cameras; angles in degrees, lengths in metres."""

    view_deg: tuple[float, float] = (30.0, 100.0)  # log-uniform, along the longer image side
    pitch_deg: tuple[float, float] = (8.0, 18.0)  # mean, sd; positive looks down
    roll_deg: float = 4.0
    tumble: float = 0.08  # share of clips with any roll at all: people who are upside down
    height_in_image: tuple[float, float] = (0.15, 1.1)  # of the image height, for a standing person
    aspects: tuple[float, ...] = (9 / 16, 16 / 9, 3 / 4, 1.0)  # height / width
    aspect_weights: tuple[float, ...] = (0.45, 0.2, 0.15, 0.2)
    moving: float = 0.5  # share of clips with a moving camera
    pan_deg_s: float = 8.0
    shake_deg: float = 0.3
    known: float = 0.4  # share of clips whose focal length is given (with 5 % error)


@dataclass(frozen=True)
class View:
    """What cameras see: `focal` and `guessed_focal` (B), half image sides (B, 2)."""

    R_world_to_camera: Tensor  # (B, F, 3, 3)
    origin_m: Tensor  # (B, 3) world point that is moved to `place_m` in the camera
    place_m: Tensor  # (B, 3)
    focal: Tensor
    guessed_focal: Tensor
    half_size: Tensor

    def to_camera(self, xyz_world_m: Tensor) -> Tensor:
        """World points (B, F, J, 3) in camera axes."""
        centred = xyz_world_m - self.origin_m[:, None, None]
        turned = centred @ self.R_world_to_camera.transpose(-1, -2)
        # The camera turns about its own centre, so the offset turns with it.
        first = self.R_world_to_camera[:, :1]
        drift = self.R_world_to_camera @ first.transpose(-1, -2)
        return turned + (drift @ self.place_m[:, None, :, None]).transpose(-1, -2)

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


def normal(shape: tuple[int, ...], spread: float, g: torch.Generator) -> Tensor:
    """Normal numbers with mean 0 on the generator's device."""
    return spread * torch.randn(shape, device=g.device, generator=g)


def random_view(joints_m: Tensor, dt_s: Tensor, config: CameraConfig, g: torch.Generator) -> View:
    """A camera for each clip of joints_m (B, F, J, 3) in the world; dt_s (B) is the frame step."""
    batch, frames = joints_m.shape[:2]
    middle = joints_m[:, frames // 2]
    origin = (middle.amin(1) + middle.amax(1)) / 2
    size = (middle - origin[:, None]).norm(dim=-1).amax(1) * 2

    low, high = (torch.tensor(angle).deg2rad().log().item() for angle in config.view_deg)
    focal = 0.5 / torch.tan(uniform((batch,), low, high, g).exp() / 2)
    choice = torch.tensor(config.aspect_weights, device=g.device)
    aspect = torch.tensor(config.aspects, device=g.device)[
        torch.multinomial(choice, batch, replacement=True, generator=g)
    ]
    half = 0.5 * torch.stack([(1 / aspect).clamp_max(1), aspect.clamp_max(1)], dim=1)

    share = uniform((batch,), *config.height_in_image, g)
    depth = (focal * size / (share * 2 * half[:, 1])).clamp_min(0.75 * size)
    offset = uniform((batch, 2), -0.7, 0.7, g) * half * (1 - share[:, None]).clamp_min(0.1)
    place = torch.cat([offset * (depth / focal)[:, None], depth[:, None]], dim=1)

    guess = torch.full_like(focal, GUESSED_FOCAL)
    told = focal * torch.exp(normal((batch,), 0.05, g))
    known = uniform((batch,), 0, 1, g) < config.known
    return View(
        _orientation(batch, frames, dt_s, config, g),
        origin,
        place,
        focal,
        torch.where(known, told, guess),
        half,
    )


def _orientation(
    batch: int, frames: int, dt_s: Tensor, config: CameraConfig, g: torch.Generator
) -> Tensor:
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
    still = about_z @ about_x @ level @ about_up

    time = dt_s[:, None, None] * torch.arange(frames, device=g.device)[None, :, None]
    pan = normal((batch, 1, 3), config.pan_deg_s, g) * time
    shake = normal((batch, frames, 3), config.shake_deg, g)
    shake = (shake + shake.roll(1, 1) + shake.roll(-1, 1)) / 3**0.5
    moving = uniform((batch, 1, 1), 0, 1, g) < config.moving
    motion = torch.where(moving, (pan + shake).deg2rad(), torch.zeros_like(shake))
    return rotation_vector_to_matrix(motion) @ still[:, None]


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
