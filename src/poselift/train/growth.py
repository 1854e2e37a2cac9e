"""Growing `river`: a larger network that begins with the answers of a trained smaller one.

The new channels of the sum of all blocks are zero at first, because nothing writes to them yet;
what reads them, the new heads and hidden units are drawn as in a fresh network. New blocks read
what the block before them reads and write nothing yet; they come before the last block, which is
the only one that looks ahead. So the large network gives what the small one gives, to rounding, and
every new weight has a gradient at once or after one step.

Source: function-preserving growth (Chen et al., Net2Net, 2016), with zeros for copies.
"""

import re

import torch
from torch import Tensor, nn

from poselift.errors import WeightsError

# What writes to the sum of all blocks.
_WRITERS = re.compile(
    r"(enter|part|facts\.(weight|bias)|.*\.out\.weight|.*\.forward_part\.2\.(weight|bias))"
)
# Norms over the width: zeros among the channels make their mean square smaller.
_NORMS = re.compile(r"(norm|.*\.(parts_norm|time_norm|norm))\.weight")
# Maps whose rows are so many groups, each with the heads side by side.
_GROUPS = {"parts.qkv.weight": 3, "time.qkvg.weight": 4}
_BLOCK = re.compile(r"blocks\.(\d+)\.")


def grown(small: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights for `model`, a fresh `River`, that give the answers of the smaller one.

    The size of a head must be the same. Raises WeightsError.
    """
    large = model.state_dict()
    one, other = (w["blocks.0.time.norm.weight"].shape[0] for w in (large, small))
    if one != other:
        raise WeightsError("growth", expected=f"heads of {one} channels", found=f"{other}")
    comes_from = _blocks(small, large)
    return {name: _grown(name, fresh, small, comes_from) for name, fresh in large.items()}


def _blocks(small: dict[str, Tensor], large: dict[str, Tensor]) -> list[tuple[int, bool]]:
    """For each large block the small one it takes after, and whether it is new."""
    old, new = (
        1 + max(int(found[1]) for name in names if (found := _BLOCK.match(name)))
        for names in (small, large)
    )
    if old > new:
        raise WeightsError("growth", expected=f"at most {new} blocks", found=f"{old}")
    before, places = old - 1, range(new - 1)  # the last stays the last
    sources = [i * before // len(places) for i in places]
    fresh = [before == 0 or (i > 0 and sources[i] == sources[i - 1]) for i in places]
    return [*zip(sources, fresh, strict=True), (before, False)]


def _grown(
    name: str, fresh: Tensor, small: dict[str, Tensor], comes_from: list[tuple[int, bool]]
) -> Tensor:
    new, source = False, name
    if found := _BLOCK.match(name):
        block, new = comes_from[int(found[1])]
        source = f"blocks.{block}.{name.removeprefix(found[0])}"
    old = small.get(source)
    if old is None:
        raise WeightsError("growth", expected=f"a weight {source}", found="none")
    groups = next((n for end, n in _GROUPS.items() if name.endswith(end)), 1)
    fresh, old = (w.unflatten(0, (groups, -1)) for w in (fresh, old))
    if any(b > a for a, b in zip(fresh.shape, old.shape, strict=True)):
        expected = f"at most {tuple(fresh.shape)} for {name}"
        raise WeightsError("growth", expected=expected, found=f"{tuple(old.shape)}")
    writes = _WRITERS.fullmatch(name)
    out = torch.zeros_like(fresh) if writes else fresh.clone()
    if not (new and writes):
        out[tuple(slice(size) for size in old.shape)] = old
    if _NORMS.fullmatch(name):
        out = out * (old.shape[-1] / fresh.shape[-1]) ** 0.5
    return out.flatten(0, 1)
