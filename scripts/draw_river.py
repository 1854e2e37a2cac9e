"""The picture of docs/river.md: from any detector's points to joints with their uncertainty.

python scripts/draw_river.py -o docs/river.png
"""

import argparse
from pathlib import Path

from poselift.models.river import PARTS
from poselift.report.canvas import COLOURS, FAINT, INK, MIDDLE, new_figure, save, style

# Where each part of a standing person is drawn, and what the steps are called.
PLACES = {
    "head": (0.0, 2.7),
    "trunk": (0.0, 2.1),
    "pelvis": (0.0, 1.2),
    **{
        f"{side}_{part}": (sign * x, y)
        for side, sign in (("left", 1), ("right", -1))
        for part, x, y in (
            ("shoulder", 0.42, 2.2),
            ("elbow", 0.62, 1.65),
            ("wrist", 0.72, 1.1),
            ("hip", 0.25, 1.1),
            ("knee", 0.28, 0.55),
            ("ankle", 0.3, 0.05),
            ("foot", 0.48, -0.12),
        )
    },
}
STEPS = (
    ("any detector", "points by name,\nunseen ones masked"),
    ("intake", "ray of the trunk to the axis,\napparent size divided out"),
    ("17 parts", "one token per part\nof the body and frame"),
    ("L blocks", "parts look at each other,\neach part remembers,\nfeed-forward"),
    ("28 joints", "metres from the pelvis,\nb across and along the ray"),
)


def body(axes) -> None:
    """The parts and what they hang on."""
    for part, (points, on) in PARTS.items():
        x, y = PLACES[part]
        if on:
            axes.plot([x, PLACES[on][0]], [y, PLACES[on][1]], color=MIDDLE, lw=1.2, zorder=1)
        axes.scatter(x, y, s=60 + 45 * len(points), color=COLOURS[0], zorder=2)
        axes.annotate(str(len(points)), (x, y), color="white", ha="center", va="center", size=7.5)
    axes.set(xlim=(-1.2, 1.2), ylim=(-0.5, 3.1), aspect="equal")
    axes.set_title("Parts, and how many points lie on each")
    axes.axis("off")


def steps(axes) -> None:
    """What happens to a frame, and the three ways along time."""
    for number, (name, text) in enumerate(STEPS):
        axes.text(number, 1.0, name, ha="center", va="bottom", weight="bold", color=INK)
        axes.text(number, 0.93, text, ha="center", va="top", size=8, color=INK)
        if number:
            axes.annotate(
                "",
                (number - 0.38, 1.03),
                (number - 0.62, 1.03),
                arrowprops={"arrowstyle": "-|>", "color": MIDDLE},
            )
    rows = (
        ("whole clip, both ways", "O = (QKᵀ ∘ D) V,   D_ts = exp(-|Λ_t - Λ_s|)", COLOURS[0]),
        ("whole clip, looking back", "the same with D_ts = 0 for s > t", COLOURS[2]),
        (
            "live, 0 to 8 frames late",
            "S_t = exp(-λ_t Δt) S_(t-1) + k_t v_tᵀ,   o_t = q_tᵀ S_t",
            COLOURS[1],
        ),
    )
    for number, (name, formula, colour) in enumerate(rows):
        y = 0.42 - 0.17 * number
        axes.add_patch(_box(-0.4, y - 0.06, 4.8, 0.13))
        axes.text(-0.3, y, name, va="center", color=colour, weight="bold")
        axes.text(1.15, y, formula, va="center", color=INK)
    axes.text(-0.4, 0.55, "Along time, with the same weights (Λ: running sum of λ Δt)", color=INK)
    axes.set(xlim=(-0.6, 4.6), ylim=(-0.02, 1.15))
    axes.axis("off")


def _box(x: float, y: float, width: float, height: float):
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.03", fc=FAINT, ec="none"
    )


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    out = parser.parse_args().out
    with style():
        figure = new_figure(11.5, 4.2)
        left, right = figure.subplots(1, 2, width_ratios=[1, 3.1])
        body(left)
        steps(right)
        save(figure, out)


if __name__ == "__main__":
    main()
