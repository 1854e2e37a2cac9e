"""What there is to see of a person in a clip, and what the own body hides of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from poselift.skeleton import skeleton

HALPE = skeleton("halpe26")
# Flesh this much nearer to the camera than a point hides it; less is the point's own skin.
_ABOVE_SKIN_M = 0.12
_ABOVE_HIP_M = 0.18
_THROUGH_FLESH = 1.6  # of a capsule's radius
FRONT, SIDE, BACK = 0, 1, 2
_SIDE_ON = 0.5  # cosine of the angle that parts front and back from side views


@dataclass(frozen=True)
class Sight:
    """True points of B clips of F frames.

    xy (B, F, 26, 2): HALPE-26 on the surface in image units (longer image side 1, origin in the
    centre, y down); points_m (B, F, 26, 3): the same in camera axes; bones_m (B, F, K, 2, 3) and
    radius_m (B, K): capsules of flesh, camera axes; own (26, K), bool: capsules that a point lies
    on and that do not hide it; dt_s (B): frame step; half_size (B, 2): half image sides.
    """

    xy: Tensor
    points_m: Tensor
    bones_m: Tensor
    radius_m: Tensor
    own: Tensor
    dt_s: Tensor
    half_size: Tensor

    def box(self) -> Tensor:
        """Longer side of the box around all points, (B, F, 1, 1), image units."""
        return (self.xy.amax(2) - self.xy.amin(2)).amax(-1)[..., None, None].clamp_min(1e-6)


def behind_flesh(sight: Sight) -> Tensor:
    """Which points another part of the own body hides from the camera, bool (B, F, 26)."""
    length = sight.points_m.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    ray = sight.points_m / length
    start = sight.bones_m[..., 0, :]
    along = sight.bones_m[..., 1, :] - start
    # |s ray - start - t along| is least at t, s; all by inner products, (B, F, 26, K), in place
    # where it can be, since these are the largest arrays of a training batch.
    ray_along = ray @ along.transpose(-1, -2)
    ray_start = ray @ start.transpose(-1, -2)
    start_along, along_along, start_start = (
        (a * b).sum(-1)[:, :, None] for a, b in ((start, along), (along, along), (start, start))
    )
    t = torch.addcmul(-start_along, ray_along, ray_start)
    t = t.div_((along_along - ray_along**2).clamp_min_(1e-9)).clamp_(0, 1)
    s = torch.addcmul(ray_start, ray_along, t)
    gap2 = torch.addcmul(2 * start_along, t, along_along).mul_(t).add_(start_start).sub_(s**2)
    depth2 = (sight.radius_m**2)[:, None, None] - gap2
    buried = (length - s).add_(depth2.clamp_min(0).sqrt_())
    above = torch.tensor(_ABOVE, device=ray.device, dtype=ray.dtype)[:, None]
    # The flesh under a point's own skin hides it only from the far side.
    far_side = (_THROUGH_FLESH * sight.radius_m[:, None]).maximum(above)
    above = torch.where(sight.own, far_side, above)[:, None]
    return ((depth2 > 0) & (s > 0) & (buried > above)).any(-1)


_ABOVE = [
    _ABOVE_HIP_M if joint.endswith("hip") or joint == "pelvis" else _ABOVE_SKIN_M
    for joint in HALPE.joints
]


def seen_from(sight: Sight) -> Tensor:
    """FRONT, SIDE or BACK, (B, F), by how shoulders and hips lie across the view."""
    rows = [[HALPE.index(f"{side}_{part}") for part in ("shoulder", "hip")] for side in _SIDES]
    across = (sight.points_m[:, :, rows[0]] - sight.points_m[:, :, rows[1]]).sum(2)
    cosine = across[..., 0] / across.norm(dim=-1).clamp_min(1e-6)
    side = torch.full_like(cosine, SIDE, dtype=torch.int64)
    return torch.where(cosine > _SIDE_ON, FRONT, torch.where(cosine < -_SIDE_ON, BACK, side))


_SIDES = ("left", "right")
