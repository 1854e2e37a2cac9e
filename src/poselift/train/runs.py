"""Finished runs as networks, graphs and lifters."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim

from poselift.errors import InputError
from poselift.io.files import atomic
from poselift.models import LifterInfo, build, info
from poselift.models.export import Exported, export_onnx
from poselift.models.intake import MODES, NEW_S, Known, intake, with_mode
from poselift.models.lifter import Lifter
from poselift.models.network import Lifted, Network
from poselift.models.river import PARTS, River, State
from poselift.models.river_lifter import RiverLifter
from poselift.train import checkpoint, cost
from poselift.train.loop import full_config
from poselift.train.walker import walk_rays


def is_run(path: Path) -> bool:
    """Whether this is the folder of a run that has weights."""
    return (path / checkpoint.BEST).is_file()


def network(run: Path) -> tuple[Network | River, LifterInfo, dict[str, Any]]:
    """The averaged network of a run's best step, its lifter's record, and the run's facts."""
    tensors, facts = checkpoint.load(run / checkpoint.BEST)
    config = facts["config"]
    model = build(config["lifter"], **config["network"]).eval()
    model.load_state_dict(checkpoint.under("average", tensors))
    record = info(config["lifter"])
    size = {
        "frames": record.frames if isinstance(model, River) else model.frames,
        "parameters": cost.parameters(model),
        "macs_per_frame": round(cost.macs_per_frame(model, record)),
    }
    return model, replace(record, **size), facts


def on_axis(facts: Mapping[str, Any]) -> bool:
    """Whether a run of `river` was taught people on the optical axis, as the product gives them."""
    return full_config(facts["config"])["flow"]["on_axis"]


def product_network(run: Path) -> tuple[Network | River, LifterInfo, dict[str, Any]]:
    """`network` of a run that the product can use. Raises InputError for an off-axis ablation."""
    found = network(run)
    if not on_axis(found[2]):
        expected = "a network of people on the axis"
        raise InputError(str(run), expected=expected, found="on_axis=false")
    return found


def lifter_from_run(run: Path) -> Lifter | RiverLifter:
    """A lifter with a run's best averaged weights, run by torch."""
    model, record, _ = network(run)

    @torch.inference_mode()
    def forward(*arrays: np.ndarray) -> np.ndarray:
        answer = model(*(torch.as_tensor(array, dtype=torch.float32) for array in arrays))
        if isinstance(answer, Lifted):
            answer = answer.every if record.gives == "all" else answer.centre[:, 0]
        return answer.double().numpy()

    return (RiverLifter if isinstance(model, River) else Lifter)(forward, record)


def write_graphs(
    model: Network | River, record: LifterInfo, folder: Path, *, half: bool
) -> tuple[dict[str, Any], Exported]:
    """Write a lifter's graphs into a folder; what its record says of them, and of the first.

    Raises WeightsError, OutputError.
    """
    path = folder / f"{record.name}.onnx"
    card: dict[str, Any] = {"name": record.name, "file": path.name}
    if isinstance(model, River):
        step_path = folder / f"{record.name}-step.onnx"
        exported, step = export_river(model, record, path, step_path, half=half)
        card |= {"step_file": step_path.name, "step_sha256": step.sha256}
    else:
        exported = export(model, record, path, half=half)
    lifter = {name: value for name, value in asdict(record).items() if name != "target"}
    return card | {"sha256": exported.sha256, "lifter": lifter}, exported


def write_card(card: Mapping[str, Any], folder: Path) -> Path:
    """Write the record beside the graphs; the path by which they are loaded."""
    path = folder / card["file"]
    with atomic(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def export(
    model: Network,
    record: LifterInfo,
    path: Path,
    *,
    half: bool,
    root: Literal["free", "zero"] = "free",
) -> Exported:
    """Write the ONNX graph, checked against torch. Raises WeightsError, OutputError.

    root: what the network says of the pelvis, which lifters subtract, or 0.
    """
    example = 0.5 * torch.randn(2, model.frames, 17, 2, generator=torch.Generator().manual_seed(0))
    gives = {"centre": ("centre",), "all": ("every",)}[record.gives]
    named = {"name": record.name}
    return export_onnx(
        _Answer(model, gives[0], root), example, path, half=half, outputs=gives, metadata=named
    )


class _Answer(torch.nn.Module):
    """A network's one answer that is used."""

    def __init__(self, model: Network, answer: str, root: str) -> None:
        super().__init__()
        self.model, self.answer, self.root = model, answer, root

    def forward(self, joints: torch.Tensor) -> torch.Tensor:
        pose = getattr(self.model(joints), self.answer)
        if self.root == "free":
            return pose
        return torch.cat([torch.zeros_like(pose[..., :1, :]), pose[..., 1:, :]], dim=-2)


def export_river(
    model: River, record: LifterInfo, offline: Path, step: Path, *, half: bool
) -> tuple[Exported, Exported]:
    """Write the graph for whole clips looking both ways, and the step of a stream.

    `offline`: points (B, T, 28, 4), facts (B, T, FACTS), dt_s (B, T) to joints (B, T, 28, 5), any B
    and T. `step`: points (B, 28, 4), facts (B, FACTS), dt_s (B) and the arrays of `river.State` to
    joints (B, 28, 5) and the next state, past_out and so on; zeros are the first state.
    Raises WeightsError, OutputError.
    """
    batch, frames = Dim("batch"), Dim("frames")
    example, *probes = [walks(*shape) for shape in ((2, 150), (1, 1), (3, 40), (1, 700))]
    whole = export_onnx(
        _BothWays(model),
        example,
        offline,
        half=half,
        outputs=("joints",),
        axes={name: {0: batch, 1: frames} for name in example},
        probes=probes,
        metadata={"name": record.name, "graph": "offline"},
    )
    rows = Dim("batch") * len(PARTS)
    axes = {name: {0: batch} for name in ("points", "facts", "dt_s")}
    axes |= {"past": {1: rows}, "memory": {1: rows}, "tokens": {0: rows}, "mixing": {0: rows}}
    example, *probes = [moments(model, people) for people in (2, 1, 5)]
    live = export_onnx(
        _Step(model),
        example,
        step,
        half=half,
        outputs=("joints", *(f"{name}_out" for name in State._fields)),
        axes=axes,
        probes=probes,
        metadata={"name": record.name, "graph": "step"},
    )
    return whole, live


class _BothWays(torch.nn.Module):
    def __init__(self, model: River) -> None:
        super().__init__()
        self.model = model

    def forward(self, points: Tensor, facts: Tensor, dt_s: Tensor) -> Tensor:
        return self.model(points, facts, dt_s)


class _Step(torch.nn.Module):
    def __init__(self, model: River) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        points: Tensor,
        facts: Tensor,
        dt_s: Tensor,
        past: Tensor,
        memory: Tensor,
        tokens: Tensor,
        mixing: Tensor,
    ) -> tuple[Tensor, ...]:
        state = State(past, memory, tokens, mixing)
        joints, state = self.model.step(points, facts, dt_s, state)
        return joints, *state


def walks(people: int, frames: int, hz: float = 30.0, mode: str = MODES[0]) -> dict[str, Tensor]:
    """What the network is given of people who walk; each begins with a new clip."""
    time_s = np.arange(frames) / hz
    rays = np.stack([walk_rays(time_s, seed) for seed in range(people)])
    dt_s = np.full((people, frames), 1 / hz)
    dt_s[:, 0] = NEW_S
    one = np.ones((people, 1))
    known = Known(one, 0 * one, 1.7 * one, np.array([0.0, -1.0, 0.0]))
    seen, _ = intake(rays, np.full(rays.shape[:-1], 0.9), dt_s, known)
    arrays = {"points": seen.points, "facts": with_mode(seen.facts, mode), "dt_s": dt_s}
    return {name: torch.from_numpy(array).float() for name, array in arrays.items()}


@torch.inference_mode()
def moments(model: River, people: int, frames: int = 20) -> dict[str, Tensor]:
    """Input of the step for people who have walked for some frames."""
    clip, state = walks(people, frames, mode=MODES[-2]), model.first_state(people)
    for t in range(frames - 1):
        _, state = model.step(clip["points"][:, t], clip["facts"][:, t], clip["dt_s"][:, t], state)
    return {name: x[:, -1].clone() for name, x in clip.items()} | state._asdict()
