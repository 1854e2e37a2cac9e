"""SemGCN: graph convolutions over the joints of one frame, with learned weights on the bones.

Zhao, Peng, Tian, Kapadia, Metaxas: Semantic Graph Convolutional Networks for 3D Human Pose
Regression (CVPR 2019).

The published network knows 16 joints, Human3.6M's without the nose. With `joints=16` the nose of
the input is not looked at, and the answer's nose is the middle of thorax and head top: no parameter
is spent on it and it counts in no loss. With `joints=17` the nose is a joint like the others.

`Config.faithful` chooses between the first weights of the published code and the usual ones:

==============  =================================  ==============================
                faithful                           default
==============  =================================  ==============================
weights         Xavier over both matrices as one   Xavier over each matrix
                kernel: 8 times smaller at 128
bias            spread 1/√out; channel-wise        spread 1/√out
                1/√in
==============  =================================  ==============================
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poselift.models.blocks import centre_of, check_window, neighbours, normed
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted, Network
from poselift.skeleton import Skeleton, skeleton

_NOSE = skeleton("h36m17").index("nose")
# Joints whose keys the non-local block pools; what is not named here stands alone.
_PAIRS = (
    ("right_knee", "right_ankle"),
    ("left_knee", "left_ankle"),
    ("right_hip", "left_hip"),
    ("pelvis", "spine"),
    ("thorax", "head_top"),
    ("right_elbow", "right_wrist"),
    ("left_shoulder", "right_shoulder"),
    ("left_elbow", "left_wrist"),
)


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    non_local: attention between all joints after every block; channel_wise: bones have a weight per
    channel.
    """

    joints: int = 16
    width: int = 128
    layers: int = 4
    non_local: bool = False
    channel_wise: bool = False
    dropout: float = 0.0
    faithful: bool = False

    def __post_init__(self) -> None:
        self.check_choice("joints", (16, 17))
        self.check_counts("width", "layers")
        self.check_rates("dropout")


class SemGCN(Network):
    """Normalised 2D joints (B, 1, 17, 2) to that frame's pose. Raises ShapeError."""

    frames = 1

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.config = c = config or Config()
        graph = skeleton(f"h36m{c.joints}")
        self.known = [joint for joint in range(17) if c.joints == 17 or joint != _NOSE]
        self.first = GraphUnit(c, graph, 2)
        self.first_mix = NonLocal(c, graph) if c.non_local else nn.Identity()
        self.blocks = nn.ModuleList(
            nn.Sequential(GraphUnit(c, graph, c.width), GraphUnit(c, graph, c.width))
            for _ in range(c.layers)
        )
        self.mixes = nn.ModuleList(
            NonLocal(c, graph) if c.non_local else nn.Identity() for _ in range(c.layers)
        )
        self.last = GraphConvolution(c, graph, c.width, 3)

    def forward(self, joints: Tensor) -> Lifted:
        """Lift frames (B, 1, 17, 2)."""
        check_window(joints, 1)
        x = self.first_mix(self.first(joints[:, 0, self.known]))
        for block, mix in zip(self.blocks, self.mixes, strict=True):
            x = mix(x + block(x))
        pose = self.last(x)
        if self.config.joints == 16:
            nose = pose[:, _NOSE - 1 : _NOSE + 1].mean(dim=1, keepdim=True)  # thorax and head top
            pose = torch.cat([pose[:, :_NOSE], nose, pose[:, _NOSE:]], dim=1)
        return Lifted(pose[:, None], None)

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """Mean squared error of the known joints' coordinates, in square metres, as published."""
        error_m = lifted.centre - centre_of(target_m)
        return error_m[..., self.known, :].square().mean()


class GraphConvolution(nn.Module):
    """A joint's own map, and another one for its neighbours, (B, J, C) to (B, J, O).

    Each row of the weights on joints and bones is a softmax of `logits` (1 or O, entries), which
    hold the entries of the graph row by row.
    """

    place: Tensor

    def __init__(self, config: Config, graph: Skeleton, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, inputs, outputs))
        channels, entries = outputs if config.channel_wise else 1, len(graph) + 2 * len(graph.edges)
        self.logits = nn.Parameter(torch.ones(channels, entries))
        spread = 1 / math.sqrt(inputs if config.faithful and config.channel_wise else outputs)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-spread, spread))
        for part in (self.weight,) if config.faithful else self.weight:
            nn.init.xavier_uniform_(part, gain=1.414)
        # Where the logit of each two joints is; one past the last: no bone.
        near = neighbours(graph)
        place = (near.flatten().cumsum(0) - 1).view_as(near).where(near, entries)
        self.register_buffer("place", place, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix neighbours."""
        own, others = x @ self.weight[0], x @ self.weight[1]
        logits = F.pad(self.logits, (0, 1), value=-9e15)
        share = logits[:, self.place].softmax(-1)  # (1 or O, J, J)
        itself = share.diagonal(dim1=1, dim2=2).T  # (J, 1 or O)
        share = share * (1 - torch.eye(x.shape[1], dtype=share.dtype, device=x.device))
        if len(share) == 1:
            return itself * own + share[0] @ others + self.bias
        return itself * own + torch.einsum("ojk,bko->bjo", share, others) + self.bias


class GraphUnit(nn.Module):
    """Graph convolution, batch norm, ReLU, dropout."""

    def __init__(self, config: Config, graph: Skeleton, inputs: int) -> None:
        super().__init__()
        self.convolution = GraphConvolution(config, graph, inputs, config.width)
        self.norm = nn.BatchNorm1d(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, J, C) to (B, J, width)."""
        return self.dropout(F.relu(normed(self.norm, self.convolution(x))))


class NonLocal(nn.Module):
    """Every joint asks all pairs of joints; starts as the identity.

    The score of joint i and pair j is ReLU(a·q_i + b·k_j) divided by the number of pairs.
    """

    pairs: Tensor

    def __init__(self, config: Config, graph: Skeleton) -> None:
        super().__init__()
        inner = config.width // 2
        self.query = nn.Linear(config.width, inner)
        self.key = nn.Linear(config.width, inner)
        self.value = nn.Linear(config.width, inner)
        self.score = nn.Linear(2 * inner, 1, bias=False)
        self.out = nn.Linear(inner, config.width)
        self.norm = nn.BatchNorm1d(config.width)
        for layer in (self.query, self.key, self.value, self.score, self.out):
            nn.init.kaiming_normal_(layer.weight)
        for bias in (self.query.bias, self.key.bias, self.value.bias, self.out.bias):
            nn.init.zeros_(bias)
        nn.init.zeros_(self.norm.weight)
        self.register_buffer("pairs", pairs(graph), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, J, C) to the same."""
        keys, values = (part(x)[:, self.pairs].amax(dim=2) for part in (self.key, self.value))
        from_query, from_key = self.score.weight[0].chunk(2)
        scores = F.relu((self.query(x) @ from_query)[:, :, None] + (keys @ from_key)[:, None])
        return x + normed(self.norm, self.out(scores / len(self.pairs) @ values))


def pairs(graph: Skeleton) -> Tensor:
    """Indices (P, 2) of the joints that are pooled; a joint without partner is its own."""
    found = [tuple(graph.index(joint) for joint in pair) for pair in _PAIRS]
    paired = {joint for pair in found for joint in pair}
    alone = [(joint, joint) for joint in range(len(graph)) if joint not in paired]
    return torch.tensor([*found, *alone])
