"""The Strided Transformer: 2D joints of a window of frames to the 3D pose of its centre frame.

Li, Liu, Ding, Liu, Wang: Exploiting Temporal Contexts with Strided Transformer for 3D Human Pose
Estimation (IEEE TMM 2022). A vanilla encoder sees all frames and answers for all of them; a strided
encoder shrinks the sequence to one token and answers for the centre.

`Config.faithful` chooses between the numbers of the published network and its four corrections:

====================  =========================================  ===============================
                      faithful                                   default
====================  =========================================  ===============================
strided sub-layer     residual and convolution around the first  around the centre of each group,
                      frame of each group: ends in frame 0       ends in frame F // 2
layer norm            unbiased deviation, epsilon added to it    as in torch
last norm of each     exists, is never used                      used
encoder
first weights         layers are copies of one another,          layers independent,
                      positions N(0, 1)                          positions N(0, 0.02)
====================  =========================================  ===============================

Both have the same parameters. Pointwise convolutions are linear layers here, which is the same map.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poselift.errors import InputError, ShapeError
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted, Network

STRIDES: dict[int, tuple[int, ...]] = {
    27: (3, 3, 3),
    81: (3, 3, 9),
    243: (3, 9, 9),
    351: (3, 9, 13),
}


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    `strides` must be odd, 3 or more, and multiply to `frames`; left empty, the published ones of
    27, 81, 243 and 351 frames are taken. `layers` counts the vanilla encoder's.
    """

    frames: int = 27
    joints: int = 17
    channels_in: int = 2
    width: int = 256
    hidden: int = 512
    heads: int = 8
    layers: int = 3
    strides: tuple[int, ...] = ()
    input_dropout: float = 0.25
    dropout: float = 0.1
    attention_dropout: float = 0.1
    faithful: bool = False

    def __post_init__(self) -> None:
        self.check_counts("frames", "joints", "channels_in", "width", "hidden", "heads", "layers")
        self.check_rates("input_dropout", "dropout", "attention_dropout")
        if self.width % self.heads:
            raise InputError(
                "width", expected=f"a multiple of {self.heads} heads", found=self.width
            )
        object.__setattr__(self, "strides", self._checked_strides())

    def _checked_strides(self) -> tuple[int, ...]:
        strides = tuple(self.strides) or STRIDES.get(self.frames)
        if strides is None:
            raise InputError(
                f"no published strides for {self.frames} frames",
                expected="strides that multiply to the frames",
                known=STRIDES,
            )
        if math.prod(strides) != self.frames or any(s < 3 or s % 2 == 0 for s in strides):
            raise InputError(
                f"strides for {self.frames} frames",
                expected=f"odd numbers from 3 up that multiply to {self.frames}",
                found=strides,
            )
        return strides


class Strided(Network):
    """Normalised 2D joints (B, F, J, 2) to `Lifted`. Raises ShapeError for any other window."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.frames = c.frames
        self.embed = nn.Linear(c.joints * c.channels_in, c.width)
        self.embed_norm = nn.BatchNorm1d(c.width)
        self.embed_dropout = FastDropout(c.input_dropout)
        self.position = _positions(c)
        self.layers = nn.ModuleList(Layer(c, FeedForward(c)) for _ in range(c.layers))
        self.norm = LayerNorm(c.width, c.faithful)
        self.every_head = Head(c)
        self.strided_positions = nn.ParameterList(_positions(c) for _ in c.strides)
        self.strided_layers = nn.ModuleList(
            Layer(c, StridedFeedForward(c, stride), stride) for stride in c.strides
        )
        self.strided_norm = LayerNorm(c.width, c.faithful)
        self.centre_head = Head(c)
        if c.faithful:
            self._copy_first_weights()

    def forward(self, joints: Tensor) -> Lifted:
        """Lift windows (B, F, J, 2) of x, y scaled to the image width."""
        c = self.config
        if joints.shape[1:] != (c.frames, c.joints, c.channels_in):
            raise ShapeError(
                "2D joints",
                expected=f"(B, {c.frames}, {c.joints}, {c.channels_in})",
                found=tuple(joints.shape),
            )
        x = self.embed(joints.flatten(2))
        x = F.relu(self.embed_norm(x.flatten(0, 1)).view_as(x))
        x = self.embed_dropout(x) + self.position
        for layer in self.layers:
            x = layer(x)
        x = x if c.faithful else self.norm(x)
        every = self.every_head(x)
        for layer, position in zip(self.strided_layers, self.strided_positions, strict=True):
            x = layer(x + position[: x.shape[1]])
        x = x if c.faithful else self.strided_norm(x)
        return Lifted(self.centre_head(x), every)

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """What training minimises: `full_to_single_loss`."""
        return full_to_single_loss(lifted, target_m)

    def _copy_first_weights(self) -> None:
        """Start all vanilla layers, and all attentions of either encoder, from one another."""
        for encoder in (self.layers, self.strided_layers):
            first, *others = (m for m in encoder.modules() if isinstance(m, Attention))
            first.start_equal()
            for attention in others:
                attention.load_state_dict(first.state_dict())
        for layer in self.layers[1:]:
            layer.load_state_dict(self.layers[0].state_dict())


class Layer(nn.Module):
    """Attention, then a feed-forward part, each normalised before and added after.

    (B, L, C) to (B, L / stride, C).
    """

    def __init__(self, config: Config, feed_forward: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(config.width, config.faithful)
        self.attention = Attention(config)
        self.feed_forward_norm = LayerNorm(config.width, config.faithful)
        self.feed_forward = feed_forward
        self.dropout = FastDropout(config.dropout)
        self.stride = stride
        self.kept = 0 if config.faithful else stride // 2

    def forward(self, x: Tensor) -> Tensor:
        """One layer on (B, L, C)."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        change = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return x[:, self.kept :: self.stride] + change


class Attention(nn.Module):
    """Multi-head self-attention over the frames (B, L, C)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.dropout = FastDropout(config.attention_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the frames of (B, L, C)."""
        batch, frames, width = x.shape
        qkv = self.qkv(x).view(batch, frames, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if x.is_cuda:
            rate = self.dropout.rate if self.training else 0.0
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=rate)
        else:
            # On a CPU the plain products are 1.5 to 5 times as fast for sequences this short.
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            mixed = self.dropout(scores.softmax(-1)) @ v
        return self.out(mixed.transpose(1, 2).reshape(batch, frames, width))

    @torch.no_grad()
    def start_equal(self) -> None:
        """Give query, key and value the output's first weights, as the published code does."""
        self.qkv.weight.copy_(self.out.weight.repeat(3, 1))
        self.qkv.bias.copy_(self.out.bias.repeat(3))


class FeedForward(nn.Sequential):
    """Two linear layers on each frame alone."""

    def __init__(self, config: Config) -> None:
        super().__init__(
            nn.Linear(config.width, config.hidden),
            nn.ReLU(),
            FastDropout(config.dropout),
            nn.Linear(config.hidden, config.width),
        )


class StridedFeedForward(nn.Module):
    """A linear layer on each frame, then a convolution of three frames with a stride.

    `contract.weight` (C, 3 H) holds the convolution's three taps one after another.
    """

    def __init__(self, config: Config, stride: int) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, config.hidden)
        self.dropout = FastDropout(config.dropout)
        self.contract = nn.Linear(3 * config.hidden, config.width)
        self.stride = stride
        self.faithful = config.faithful

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C) to (B, L / stride, C)."""
        if self.faithful:
            # Taps at -1, 0, 1 around each group's first frame; a hidden zero before the sequence.
            hidden = F.pad(self._hidden(x), (0, 0, 1, 0))[:, :-1]
            taps = hidden.unflatten(1, (-1, self.stride))[:, :, :3]
        else:
            middle = self.stride // 2
            groups = x.unflatten(1, (-1, self.stride))
            taps = self._hidden(groups[:, :, middle - 1 : middle + 2])
        return self.contract(taps.flatten(2))

    def _hidden(self, x: Tensor) -> Tensor:
        return self.dropout(F.relu(self.expand(x)))


class Head(nn.Module):
    """Tokens (B, L, C) to joints (B, L, J, 3)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(config.width)
        self.out = nn.Linear(config.width, 3 * config.joints)
        self.joints = config.joints

    def forward(self, x: Tensor) -> Tensor:
        """Read the joints off the tokens."""
        normed = self.norm(x.flatten(0, 1)).view_as(x)
        return self.out(normed).unflatten(2, (self.joints, 3))


class LayerNorm(nn.Module):
    """Layer norm over the last axis; `faithful` divides by (unbiased deviation + 1e-6)."""

    def __init__(self, width: int, faithful: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.faithful = faithful

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., C)."""
        if not self.faithful:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias)
        deviation, mean = torch.std_mean(x, -1, keepdim=True)
        return self.weight * (x - mean) / (deviation + 1e-6) + self.bias


class FastDropout(nn.Module):
    """Dropout that on a CPU draws one random byte per value: three times as fast as torch's.

    The rate is rounded to 1/256 there; the scale that keeps the mean fits the rounded rate.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop values while training."""
        dropped = round(self.rate * 256)
        if not self.training or dropped == 0:
            return x
        if x.is_cuda:
            return F.dropout(x, self.rate)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))

    def extra_repr(self) -> str:
        """The rate, for printing."""
        return f"rate={self.rate}"


class Refinement(nn.Module):
    """Second stage: weighs lifted x, y against those of the 2D joints at the lifted depth.

    From Cai et al. (ICCV 2019), as the Strided Transformer uses it. 140,322 parameters at 17
    joints.
    """

    def __init__(self, joints: int = 17, hidden: int = 1024, dropout: float = 0.5) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(6 * joints, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 2 * joints),
            nn.Sigmoid(),
        )

    def forward(self, lifted_m: Tensor, projected_m: Tensor) -> Tensor:
        """Refined centre pose (B, 1, J, 3) from the lifted and the back-projected one."""
        both = torch.cat([lifted_m, projected_m], dim=-1)
        score = self.score(both.flatten(1)).view_as(lifted_m[..., :2])
        xy_m = score * lifted_m[..., :2] + (1 - score) * projected_m[..., :2]
        return torch.cat([xy_m, lifted_m[..., 2:]], dim=-1)


def back_project(lifted_m: Tensor, xy_px: Tensor, K: Tensor, root_depth_m: Tensor) -> Tensor:
    """Root-relative pose (B, 1, J, 3) on the rays of the 2D joints, at the lifted depths.

    xy_px (B, 1, J, 2) without lens distortion, K (B, 3, 3), root_depth_m (B): the camera-space
    depth of the first joint. The published numbers use the **true** root depth, which nobody has
    for a new video; to compare with them pass the truth, for anything else pass an estimate.
    """
    depth_m = lifted_m[..., 2:] + root_depth_m[:, None, None, None]
    focal_px = torch.stack([K[:, 0, 0], K[:, 1, 1]], dim=-1)[:, None, None]
    middle_px = K[:, None, None, :2, 2]
    xyz_m = torch.cat([(xy_px - middle_px) * depth_m / focal_px, depth_m], dim=-1)
    return xyz_m - xyz_m[..., :1, :]


def full_to_single_loss(lifted: Lifted, target_m: Tensor) -> Tensor:
    """Mean joint distance over all frames plus that of the centre frame, in metres.

    target_m (B, F, J, 3) is root-relative: its first joint is zero, the prediction's is free.
    """
    middle = target_m.shape[1] // 2
    assert lifted.every is not None
    every = torch.linalg.vector_norm(lifted.every - target_m, dim=-1).mean()
    centre_m = target_m[:, middle : middle + 1]
    return every + torch.linalg.vector_norm(lifted.centre - centre_m, dim=-1).mean()


def _positions(config: Config) -> nn.Parameter:
    spread = 1.0 if config.faithful else 0.02
    return nn.Parameter(torch.randn(config.frames, config.width) * spread)
