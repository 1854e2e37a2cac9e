"""VideoPose3D's temporal convolutions: the reference that later lifters are measured against.

Pavllo, Feichtenhofer, Grangier, Auli: 3D human pose estimation in video with temporal convolutions
and semi-supervised training (CVPR 2019). A window of 2D joints to the pose of its centre frame.
Batch norms lose their momentum over the run, as published (`Temporal.prepare`).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from poselift.models.blocks import Convolution, Temporal, centre_error_m, checked_filters
from poselift.models.config import JsonConfig
from poselift.models.network import Lifted


@dataclass(frozen=True)
class Config(JsonConfig):
    """Shape of the network. Raises InputError where the numbers do not fit together.

    `filters` must be odd and multiply to `frames`; left empty, the published ones of 1, 27, 81 and
    243 frames are taken.
    """

    frames: int = 27
    filters: tuple[int, ...] = ()
    width: int = 1024
    dropout: float = 0.25

    def __post_init__(self) -> None:
        self.check_counts("frames", "width")
        self.check_rates("dropout")
        object.__setattr__(self, "filters", checked_filters(self.frames, self.filters))


class TCN(Temporal):
    """Normalised 2D joints (B, F, 17, 2) to the centre's pose. Raises ShapeError."""

    def __init__(self, config: Config | None = None) -> None:
        c = config or Config()

        def make(place: str, size: int) -> nn.Module:
            inputs = 2 * 17 if place == "first" else c.width
            last = place == "last"
            return Convolution(inputs, 3 * 17 if last else c.width, size, bias=last)

        super().__init__(c.filters, c.width, make, nn.ReLU(), c.dropout)
        self.config = c

    def loss(self, lifted: Lifted, target_m: Tensor) -> Tensor:
        """Mean joint distance of the centre frame in metres."""
        return centre_error_m(lifted, target_m)
