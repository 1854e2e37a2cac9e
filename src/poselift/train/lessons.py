"""What a network is taught in one step, and how its error is measured while it trains."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from poselift.models.network import Network
from poselift.train.batches import Motions, SynthConfig, make_batch


@dataclass(frozen=True)
class Source:
    """What a batch of about `windows` windows is made from."""

    motions: Motions
    synth: SynthConfig
    windows: int


class Lesson(Protocol):
    """One way of teaching; all that is random comes from `g`."""

    def loss(self, model: nn.Module, source: Source, g: torch.Generator, progress: float) -> Tensor:
        """The loss of a batch; `progress` is the share of the run that is done, 0 to 1."""
        ...

    def error_m(self, model: nn.Module, source: Source, g: torch.Generator) -> float:
        """MPJPE of a batch in metres, root-relative, H36M-17."""
        ...


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a machine multiplies 16-bit matrices itself: else large ones take 200 times as long.

    An older torch does not say it of a CPU: then False.
    """
    if device.type != "cpu":
        return True
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Windows:
    """Normalised windows of H36M-17 to their middle frame or to all frames."""

    def __init__(self, gives_all: bool, bf16: bool) -> None:
        self.gives_all, self.bf16 = gives_all, bf16

    def loss(self, model: nn.Module, source: Source, g: torch.Generator, progress: float) -> Tensor:
        """The network's own loss."""
        assert isinstance(model, Network)
        with torch.no_grad():
            batch = make_batch(source.motions, source.windows, model.frames, source.synth, g)
        with torch.autocast(g.device.type, torch.bfloat16, enabled=self.bf16):
            lifted = model(batch.xy)
        return model.loss(lifted, batch.xyz_m)

    def error_m(self, model: nn.Module, source: Source, g: torch.Generator) -> float:
        """MPJPE of what one run returns."""
        assert isinstance(model, Network)
        batch = make_batch(source.motions, source.windows, model.frames, source.synth, g)
        lifted, target = model(batch.xy), batch.xyz_m
        if self.gives_all:
            guess = lifted.every
        else:
            guess, target = lifted.centre, target[:, model.frames // 2, None]
        return float((guess - guess[:, :, :1] - target).norm(dim=-1).mean())
