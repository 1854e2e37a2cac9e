"""MixSTE: attention between the joints of a frame, then between the frames of a joint, in turns.

Zhang, Tu, Yang, Chen, Yuan: MixSTE, Seq2seq Mixed Spatio-Temporal Encoder for 3D Human Pose
Estimation in Video (CVPR 2022). A window of 2D joints to a pose for each of its frames.

`Config.faithful` chooses how the loss is differentiated: the published training passes the loss
itself to its backward pass, so that the gradient is multiplied by the loss and batches with large
errors weigh more. The default is the plain gradient; the loss has the same value in both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from poselift.errors import InputError
from poselift.models.blocks import centre_of, check_window
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted, Network
from poselift.models.strided import Attention
from poselift.models.strided import Config as AttentionConfig
from poselift.skeleton import part, skeleton

# What an error of a joint counts; joints that are not named count 1.
JOINT_WEIGHTS = {
    "knee": 2.5,
    "ankle": 2.5,
    "head_top": 1.5,
    "shoulder": 1.5,
    "elbow": 4,
    "wrist": 4,
}
_CALM_WEIGHT, _VELOCITY_WEIGHT = 0.5, 2.0


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    depth: pairs of a spatial and a temporal block; ratio: inner width of a block's feed-forward
    part over `width`; drop_path: share of samples that skip the last blocks in training, falling to
    zero at the first; checkpointed: compute activations twice instead of keeping them.
    """

    frames: int = 243
    width: int = 512
    depth: int = 8
    heads: int = 8
    ratio: int = 2
    drop_path: float = 0.1
    checkpointed: bool = False
    faithful: bool = False

    def __post_init__(self) -> None:
        self.check_counts("frames", "width", "depth", "heads", "ratio")
        self.check_rates("drop_path")
        if self.frames < 2:
            raise InputError("frames", expected="2 or more", found=self.frames)
        if self.width % self.heads:
            expected = f"a multiple of {self.heads} heads"
            raise InputError("width", expected=expected, found=self.width)


class MixSTE(Network):
    """Normalised 2D joints (B, F, 17, 2) to every frame's pose. Raises ShapeError."""

    joint_weights: Tensor

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.frames = c.frames
        self.embed = nn.Linear(2, c.width)
        self.joint_position = nn.Parameter(torch.zeros(17, c.width))
        self.frame_position = nn.Parameter(torch.zeros(c.frames, c.width))
        rates = [c.drop_path * level / max(1, c.depth - 1) for level in range(c.depth)]
        self.spatial = nn.ModuleList(Block(c, rate) for rate in rates)
        self.temporal = nn.ModuleList(Block(c, rate) for rate in rates)
        # One norm after every spatial block, another after every temporal one.
        self.spatial_norm = nn.LayerNorm(c.width, eps=1e-6)
        self.temporal_norm = nn.LayerNorm(c.width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(c.width), nn.Linear(c.width, 3))
        self.register_buffer("joint_weights", joint_weights(), persistent=False)

    def forward(self, joints: Tensor) -> Lifted:
        """Lift windows (B, F, 17, 2)."""
        check_window(joints, self.frames)
        x = self.embed(joints) + self.joint_position
        for level, (spatial, temporal) in enumerate(zip(self.spatial, self.temporal, strict=True)):
            x = self.spatial_norm(self._through(spatial, x))
            if level == 0:
                x = x + self.frame_position[:, None]
            x = x.transpose(1, 2)
            x = self.temporal_norm(self._through(temporal, x)).transpose(1, 2)
        every = self.head(x)
        return Lifted(centre_of(every), every)

    def _through(self, block: nn.Module, x: Tensor) -> Tensor:
        """A block on the tokens of (B, outer, tokens, C)."""
        tokens = x.flatten(0, 1)
        if self.config.checkpointed and self.training:
            return checkpoint(block, tokens, use_reentrant=False).view(x.shape)
        return block(tokens).view(x.shape)

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """Weighted joint distance, calmness of the prediction and error of its velocity.

        distance + 0.5 · mean(weight · (frame step)²) + 2 · mean ‖error of the frame step‖, metres.
        """
        assert lifted.every is not None
        every = lifted.every.float()
        weights = self.joint_weights
        distance = (weights * (every - target_m).norm(dim=-1)).mean()
        step = every.diff(dim=1)
        calm = (weights[:, None] * step.square()).mean()
        velocity = (step - target_m.diff(dim=1)).norm(dim=-1).mean()
        loss = distance + _CALM_WEIGHT * calm + _VELOCITY_WEIGHT * velocity
        if not self.config.faithful:
            return loss
        seed = loss.detach()
        return seed + seed * (loss - seed)  # the loss's value, its gradient times the loss


class Block(nn.Module):
    """Attention and a feed-forward part on tokens (B, L, C), normalised before, added after."""

    def __init__(self, config: Config, drop_path: float) -> None:
        super().__init__()
        width, inner = config.width, config.ratio * config.width
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(
            AttentionConfig(width=width, heads=config.heads, attention_dropout=0)
        )
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)
        )
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        x = x + self._kept(self.attention(self.attention_norm(x)))
        return x + self._kept(self.feed_forward(self.feed_forward_norm(x)))

    def _kept(self, change: Tensor) -> Tensor:
        """Stochastic depth: whole samples lose the change in training, others gain its share."""
        if not self.training or self.drop_path == 0:
            return change
        keep = 1 - self.drop_path
        kept = torch.rand(len(change), 1, 1, device=change.device) < keep
        return change * kept / keep


def joint_weights() -> Tensor:
    """Weight of each of the 17 joints in the loss (17)."""
    names = (part(joint) for joint in skeleton("h36m17").joints)
    return torch.tensor([float(JOINT_WEIGHTS.get(name, 1)) for name in names])
