"""Finished runs as networks, graphs and lifters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from poselift.models import LifterInfo, build, info
from poselift.models.export import Exported, export_onnx
from poselift.models.lifter import Lifter
from poselift.models.network import Network
from poselift.train import checkpoint


def network(run: Path) -> tuple[Network, LifterInfo, dict[str, Any]]:
    """The averaged network of a run's best step, its lifter's record, and the run's facts."""
    tensors, facts = checkpoint.load(run / "best.safetensors")
    config = facts["config"]
    model = build(config["lifter"], **config["network"]).eval()
    model.load_state_dict(checkpoint.under("average", tensors))
    return model, replace(info(config["lifter"]), frames=model.frames), facts


def lifter_from_run(run: Path) -> Lifter:
    """A lifter with a run's best averaged weights, run by torch."""
    model, record, _ = network(run)

    @torch.inference_mode()
    def forward(xy: np.ndarray) -> np.ndarray:
        lifted = model(torch.as_tensor(xy, dtype=torch.float32))
        answer = lifted.every if record.gives == "all" else lifted.centre[:, 0]
        return answer.double().numpy()

    return Lifter(forward, record)


def export(model: Network, record: LifterInfo, path: Path, *, half: bool) -> Exported:
    """Write the ONNX graph, checked against torch. Raises WeightsError, OutputError."""
    example = 0.5 * torch.randn(2, model.frames, 17, 2, generator=torch.Generator().manual_seed(0))
    gives = {"centre": ("centre",), "all": ("every",)}[record.gives]
    named = {"name": record.name}
    return export_onnx(
        _Answer(model, gives[0]), example, path, half=half, outputs=gives, metadata=named
    )


class _Answer(torch.nn.Module):
    """A network's one answer that is used."""

    def __init__(self, model: Network, answer: str) -> None:
        super().__init__()
        self.model, self.answer = model, answer

    def forward(self, joints: torch.Tensor) -> torch.Tensor:
        return getattr(self.model(joints), self.answer)
