"""Attention between the joints of a frame, biased by the skeleton; for `mixed` and `river`."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FARTHEST_HOP = 8


class JointAttention(nn.Module):
    """Attention between the joints of a frame, biased by their distance on the skeleton.

    hops (J, J): that distance; None: no bias.
    """

    near: Tensor

    def __init__(self, width: int, heads: int, hops: Tensor | None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.biased = hops is not None
        if hops is not None:
            # One of nine for each pair: a sum is far cheaper to train through than an index.
            near = F.one_hot(hops, FARTHEST_HOP + 1).flatten(0, 1).T.float()
            self.register_buffer("near", near, persistent=False)
            self.hop_bias = nn.Parameter(torch.zeros(heads, FARTHEST_HOP + 1))
            self.pair_bias = nn.Parameter(torch.zeros(heads, *hops.shape))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, J, C) to the same."""
        *outer, joints, width = x.shape
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim((-3, -2), (0, -3))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if self.biased:
            by_hop = (self.hop_bias[..., None] * self.near).sum(1).view_as(self.pair_bias)
            scores = scores + (by_hop + self.pair_bias)
        mixed = scores.softmax(-1) @ v
        return self.out(mixed.transpose(-3, -2).reshape(*outer, joints, width))


def hops(count: int, edges: Iterable[tuple[int, int]]) -> Tensor:
    """Bones between every two of `count` joints (J, J), at most 8."""
    distance = torch.full((count, count), FARTHEST_HOP, dtype=torch.int64)
    distance.fill_diagonal_(0)
    for parent, child in edges:
        distance[parent, child] = distance[child, parent] = 1
    for via in range(count):
        distance = torch.minimum(distance, distance[:, via, None] + distance[None, via])
    return distance.clamp_max(FARTHEST_HOP)
