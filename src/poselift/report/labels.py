"""Names beside points of a picture, placed so that they cover neither points nor each other."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Where a name may stand: beside, above and below first, further away after that.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES_PT = (7.0, 14.0, 24.0, 36.0)
_MARKER_PT = 6.0
_PADDING_PX = 2.0
_SIDE = {1: "left", 0: "center", -1: "right"}
_HEIGHT = {1: "bottom", 0: "center", -1: "top"}

Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels


def place_labels(
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colours: Sequence[str],
) -> list[Box]:
    """Write a name beside each point (data coordinates) and give the boxes that they take.

    One after the other, each at the first place that covers least; a thin line leads back from
    places further away. The figure must have its final limits.
    """
    figure: Any = axes.figure
    figure.canvas.draw()
    pixels = figure.dpi / 72
    around = _MARKER_PT * pixels
    places = axes.transData.transform(np.reshape(points, (-1, 2)))
    taken = [(x - around, y - around, x + around, y + around) for x, y in places]
    frame = axes.bbox.extents
    placed = []
    for point, name, colour in zip(points, names, colours, strict=True):
        tries = [
            _Try(axes, point, name, colour, *spot) for spot in product(_DISTANCES_PT, _DIRECTIONS)
        ]
        costs = [each.cost(taken, tuple(frame)) for each in tries]
        chosen = tries[costs.index(min(costs))]
        for each in tries:
            if each is not chosen:
                each.note.remove()
        chosen.settle()
        taken.append(chosen.box)
        placed.append(chosen.box)
    return placed


class _Try:
    """A name written at one place."""

    def __init__(
        self,
        axes: "Axes",
        point: tuple[float, float],
        name: str,
        colour: str,
        distance_pt: float,
        direction: tuple[int, int],
    ) -> None:
        across, up = direction
        shrink = 0.7 if across and up else 1.0
        self.far = distance_pt > _DISTANCES_PT[1]
        self.colour = colour
        self.note = axes.annotate(
            name,
            point,
            (across * distance_pt * shrink, up * distance_pt * shrink),
            textcoords="offset points",
            ha=_SIDE[across],
            va=_HEIGHT[up],
            color=colour,
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "alpha": 0.0},
        )
        self.note.set_in_layout(False)  # or the axes would move away below their labels
        # Annotation.get_window_extent would take the leading line in.
        from matplotlib.text import Text

        figure: Any = axes.figure
        renderer = figure.canvas.get_renderer()
        self.note.update_positions(renderer)
        box = Text.get_window_extent(self.note, renderer)
        pad = _PADDING_PX
        self.box: Box = (box.x0 - pad, box.y0 - pad, box.x1 + pad, box.y1 + pad)

    def cost(self, taken: Sequence[Box], frame: tuple[float, ...]) -> float:
        """Pixels that the name covers of others, and that stand outside of the frame."""
        left, bottom, right, top = self.box
        inside = overlap(self.box, (frame[0], frame[1], frame[2], frame[3]))
        outside = (right - left) * (top - bottom) - inside
        return sum(overlap(self.box, other) for other in taken) + 2 * outside

    def settle(self) -> None:
        """Keep the name; show the line that leads to it where it stands far away."""
        if self.far and self.note.arrow_patch:
            self.note.arrow_patch.set_alpha(0.7)


def overlap(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)
