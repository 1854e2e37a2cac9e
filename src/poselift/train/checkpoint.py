"""Checkpoints: one safetensors file that holds everything an exact resume needs.

Tensors are named `model.*`, `average.*`, `optimizer.<parameter>.<field>`; the step, the best error
and the configuration are JSON in the file's metadata.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from poselift.errors import WeightsError

LAST = "last.safetensors"  # of a run, from which it goes on
BEST = "best.safetensors"  # of a run, by validation


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write atomically; `facts` must be JSON."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    flat = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    save_file(flat, temporary, metadata={"facts": json.dumps(facts)})
    temporary.replace(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint. Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {})["facts"])
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsError(str(path), expected="a checkpoint", found=str(error)) from error


def named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `prefix.` before their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    start = prefix + "."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def optimizer_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The state of all optimizers by parameter name."""
    return {
        f"{name}.{key}": torch.as_tensor(value)
        for name, parameter in model.named_parameters()
        for each in optimizers
        for key, value in each.state.get(parameter, {}).items()
    }


def restore_optimizers(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Put `optimizer_tensors` back."""
    owner = {p: each for each in optimizers for g in each.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        for key, value in under(name, tensors).items():
            place = "cpu" if key == "step" else parameter.device
            owner[parameter].state[parameter][key] = value.to(place)
