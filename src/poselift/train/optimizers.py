"""Optimizers by name: what steps which of a network's weights, at one rate for all.

`adamw` steps everything. `muon` steps the matrices of the linear maps within the network's lists of
layers by their orthogonalised momentum (Jordan et al. 2024; Liu et al. 2025 for the scale, by which
the rate means what it means for AdamW), and AdamW the rest: biases, norms, tables, first and last
maps. Measured in docs/log.md.
"""

import torch
from torch import Tensor, nn

from poselift.errors import InputError, UnknownNameError

KNOWN = ("adamw", "muon")
_FEWEST = 16


def optimizers(
    name: str, model: nn.Module, rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """The optimizers that together step all weights. Raises InputError and UnknownNameError."""
    if name not in KNOWN:
        raise UnknownNameError("optimizer", name, KNOWN)
    inner = _inner_matrices(model) if name == "muon" else []
    if name == "muon" and not inner:
        expected = "a network with lists of layers that have linear maps"
        raise InputError("muon", expected=expected, found=type(model).__name__)
    groups = _groups(model, weight_decay, without={id(p) for p in inner})
    out: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))]
    if inner:
        scale = "match_rms_adamw"
        out.append(torch.optim.Muon(inner, lr=rate, weight_decay=weight_decay, adjust_lr_fn=scale))
    return out


def _inner_matrices(model: nn.Module) -> list[Tensor]:
    """Of maps with few inputs or outputs, such as one gate for each head, the rows are no basis."""
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    maps = {id(m): m for each in lists for m in each.modules() if isinstance(m, nn.Linear)}
    return [m.weight for m in maps.values() if min(m.weight.shape) >= _FEWEST]


def _groups(model: nn.Module, weight_decay: float, without: set[int]) -> list[dict]:
    """Matrices decay; biases, norms and position tables do not."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        if id(parameter) not in without:
            decays = parameter.ndim >= 2 and "position" not in name
            (matrices if decays else rest).append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
