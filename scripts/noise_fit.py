"""Fit the error model of poselift.train.errormodel to detections on rendered clips.

`fit` makes the record that becomes detectors.json. Every part (left and right together) of every
detector has its own figures; what happens to whole limbs or people is counted per second.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from noise_clips import DETECTORS, TELLING, Array, Clip, Mask, Seen, look
from noise_time import GROSS, correlation, gaussian, mean_of, shares, strengthened, time_constants
from scipy.special import ndtri
from scipy.stats import rankdata

from poselift.skeleton import part
from poselift.train.errormodel import CONFIDENCES, LENGTH_STEP, LENGTHS, PARTS, POINTS

LATE = 15  # the lag from which on only what is steady is left, frames
LEAST_FRAMES = 10
# Lengths of Gaussian vectors, small enough not to be cut.
RAYLEIGH = 0.01 * np.sqrt(2 * LENGTH_STEP * np.arange(LENGTHS))
FEW = 80  # with fewer samples the hidden are the visible times the common factor
PRIOR_S = 3.0  # weight of all detectors' common rate in the rate of one
PRIOR_POINTS = 30  # points of usual confidence that are added to those astray
SHORTEST = 1.1  # mean length of spells, frames


def fit(clips: Sequence[Clip]) -> dict:
    """The figures of all detectors."""
    looks = {name: [look(clip, name) for clip in clips if name in clip.seen] for name in DETECTORS}
    looks = {name: seen for name, seen in looks.items() if seen}
    everyone = [seen for group in looks.values() for seen in group]
    return {
        "detectors": {name: _detector(seen, everyone) for name, seen in looks.items()},
    }


def _detector(looks: list[Seen], everyone: list[Seen]) -> dict:
    parts = [p for p in PARTS if any(np.isfinite(_of(s.error, p)).any() for s in looks)]
    offsets = {p: _offset(looks, p) for p in parts}
    residual = [seen.error - _drift(seen.clip, offsets) for seen in looks]
    usable = [seen.usable for seen in looks]
    length = [np.linalg.norm(r, axis=-1) for r in residual]
    hidden = [seen.clip.hidden for seen in looks]
    rank = _ranks(length, usable, hidden)
    vectors = [gaussian(r, u) for r, u in zip(residual, rank, strict=True)]
    dt = looks[0].clip.dt_s
    score = [ndtri(u) for u in rank]
    quality = _common(score)
    lengths = _lengths(length, usable, hidden, parts)
    cut = [r / np.maximum(1, n[..., None] / GROSS) for r, n in zip(residual, length, strict=True)]
    cut = [np.where(u[..., None], c, np.nan) for c, u in zip(cut, usable, strict=True)]
    seen = {p: correlation([_of(c, p) for c in cut]) for p in parts}
    habit = _habit([s[..., None] for s in score], seen, lengths, quality)
    curves = {p: strengthened(seen[p], quality + habit, lengths[p][0]) for p in parts}
    slow_s, quick_s = time_constants(list(curves.values()), dt)
    sure = [ndtri(u) for u in _ranks([s.confidence for s in looks], usable, hidden)]
    doubt = -mean_of([a * b for a, b in zip(score, sure, strict=True)])
    doubt = float(np.clip(doubt, 0, 0.95))
    rest = [(c + doubt * n)[..., None] for c, n in zip(sure, score, strict=True)]
    rest_steady, _ = shares(correlation(rest), dt, slow_s)
    return {
        "slow_s": slow_s,
        "quick_s": quick_s,
        "shared": float(strengthened(_between(vectors), quality, RAYLEIGH)),
        "quality": quality,
        "habit": habit,
        "doubt": doubt,
        "doubt_steady": rest_steady,
        "outside_lost": _share_lost(looks),
        "astray": _astray(looks),
        **_events(looks, everyone),
        "parts": {
            p: {
                "offset": offsets[p],
                **dict(
                    zip(("steady", "slow"), shares(curves[p], dt, slow_s, quick_s), strict=True)
                ),
                "spread": _spread(looks, p),
                "missed": [_share_missed(looks, p, which) for which in (False, True)],
                "length": lengths[p],
                "confidence": _confidences(looks, usable, hidden, p),
            }
            for p in parts
        },
    }


def columns(name: str) -> list[int]:
    """The points of a part, one or two."""
    return [i for i, joint in enumerate(POINTS) if part(joint) == name]


def _of(array: np.ndarray, name: str) -> np.ndarray:
    return array[:, columns(name)]


def _offset(looks: list[Seen], name: str) -> list[float]:
    """Factors of the vectors of `body_vectors`, robustly: large residuals are left out."""
    chosen = [_of(s.usable & ~s.clip.hidden, name) for s in looks]
    error = np.concatenate([_of(s.error, name)[c] for s, c in zip(looks, chosen, strict=True)])
    vectors = np.concatenate(
        [_of(s.clip.vectors, name)[c] for s, c in zip(looks, chosen, strict=True)]
    )
    factors, kept = np.zeros(3), np.ones(len(error), bool)
    for _ in range(4):
        a, b = vectors[kept].reshape(-1, 3), error[kept].reshape(-1)
        factors = np.linalg.solve(a.T @ a + 1e-3 * len(a) * np.eye(3), a.T @ b)
        away = np.linalg.norm(error - vectors @ factors, axis=-1)
        kept = away < 3 * np.median(away)
    return [float(value) for value in factors]


def _drift(clip: Clip, offsets: dict[str, list[float]]) -> Array:
    out = np.full((*clip.true.shape[:2], 2), np.nan)
    for name, factors in offsets.items():
        out[:, columns(name)] = _of(clip.vectors, name) @ np.array(factors)
    return out


def _ranks(values: list[Array], usable: list[Mask], hidden: list[Mask]) -> list[Array]:
    """Rank of each value in 0..1 among those of the same part, visible or hidden; else NaN."""
    out = [np.full(v.shape, np.nan) for v in values]
    for name in PARTS:
        for which in (False, True):
            masks = []
            for u, h in zip(usable, hidden, strict=True):
                mask = np.zeros(u.shape, bool)
                mask[:, columns(name)] = _of(u & (h == which), name)
                masks.append(mask)
            flat = np.concatenate([v[m] for v, m in zip(values, masks, strict=True)])
            ranks, first = (rankdata(flat) - 0.5) / max(len(flat), 1), 0
            for o, m in zip(out, masks, strict=True):
                o[m] = ranks[first : first + m.sum()]
                first += int(m.sum())
    return out


def _common(score: list[Array]) -> float:
    """Share of the variance of the scores (F, P) that all points of a clip have in common."""
    between, total = [], []
    for s in score:
        present = np.isfinite(s)
        mean = np.nansum(s, axis=0) / np.maximum(present.sum(axis=0), 1)
        mean = mean[present.sum(axis=0) >= LEAST_FRAMES]
        between.append(np.outer(mean, mean)[~np.eye(len(mean), dtype=bool)])
        total.append(s[present] ** 2)
    return float(np.clip(np.concatenate(between).mean() / np.concatenate(total).mean(), 0, 0.5))


def _between(vectors: list[Array]) -> float:
    """Mean correlation of vectors (F, P, 2) of unit spread between different points of a frame."""
    products = []
    for v in vectors:
        dots = np.einsum("fpc,fqc->fpq", v, v)[:, ~np.eye(v.shape[1], dtype=bool)]
        products.append(dots[np.isfinite(dots)])
    return float(np.clip(np.concatenate(products).mean() / 2, 0, 1))


def _habit(
    score: list[Array], curves: dict[str, Array], lengths: dict[str, list], quality: float
) -> float:
    """Share of the variance of the scores that belongs to single points over a clip.

    It is what keeps lengths alike for longer than directions and whole clips account for.
    """
    lasting = correlation(score)[LATE:].mean()
    habit = 0.0
    for _ in range(3):
        late = [
            strengthened(curve[LATE:], quality + habit, lengths[name][0]).mean()
            for name, curve in curves.items()
        ]
        own = np.mean(late) ** 2  # of lengths of Gaussian vectors, nearly
        habit = float(np.clip((lasting - own) / (1 - own) - quality, 0, 0.5))
    return habit


def _lengths(
    length: list[Array], usable: list[Mask], hidden: list[Mask], parts: list[str]
) -> dict[str, list[list[float]]]:
    """Quantiles at equal steps of -log(1 - rank), visible and hidden, by part."""
    levels = 1 - np.exp(-LENGTH_STEP * np.arange(LENGTHS))
    rows: dict[str, list] = {}
    for name in parts:
        values = []
        for which in (False, True):
            values.append(
                np.concatenate(
                    [
                        _of(v, name)[_of(u & (h == which), name)]
                        for v, u, h in zip(length, usable, hidden, strict=True)
                    ]
                )
            )
        rows[name] = values
    plenty = [v for v in rows.values() if len(v[1]) >= FEW]
    factor = np.median([np.median(v[1]) / np.median(v[0]) for v in plenty]) if plenty else 2.0
    out = {}
    for name, (seen, unseen) in rows.items():
        table = np.quantile(seen, levels)
        other = np.quantile(unseen, levels) if len(unseen) >= FEW else table * factor
        out[name] = [[float(x) for x in table], [float(x) for x in other]]
    return out


def _confidences(
    looks: list[Seen], usable: list[Mask], hidden: list[Mask], name: str
) -> list[list[float]]:
    levels = np.linspace(0, 1, CONFIDENCES)
    values = [
        np.concatenate(
            [
                _of(s.confidence, name)[_of(u & (h == which), name)]
                for s, u, h in zip(looks, usable, hidden, strict=True)
            ]
        )
        for which in (False, True)
    ]
    tables = [np.quantile(v if len(v) >= FEW else values[0], levels) for v in values]
    return [[float(x) for x in table] for table in tables]


def _spread(looks: list[Seen], name: str) -> float:
    """Standard deviation of one coordinate over everything that is reported."""
    inside = [_of(s.error, name)[~_of(s.clip.outside, name)] for s in looks]
    return float(np.sqrt(mean_of([e**2 for e in inside])))


def _share_missed(looks: list[Seen], name: str, which: bool) -> float:
    """Share of points without a place, of those inside the image in frames with the person."""
    lost = [
        np.isnan(_of(s.error, name)[..., 0])[
            _of(~s.clip.outside & (s.clip.hidden == which) & s.found[:, None], name)
        ]
        for s in looks
    ]
    flat = np.concatenate(lost)
    return float(flat.mean()) if len(flat) else 0.0


def _astray(looks: list[Seen]) -> float:
    """Confidence of points in another's place, of that of the others."""
    placed = [np.isfinite(s.error[..., 0]) & ~s.clip.outside for s in looks]

    def of(confused: bool) -> Array:
        pairs = zip(looks, placed, strict=True)
        return np.concatenate([s.confidence[p & (s.confused == confused)] for s, p in pairs])

    few = np.append(of(True) / of(False).mean(), np.ones(PRIOR_POINTS))
    return float(min(few.mean(), 1.0))


def _share_lost(looks: list[Seen]) -> float:
    """Share of points outside the image that are not reported; one each way is added."""
    reported = [s for s in looks if s.found.any()]
    columns_in_use = ~np.isnan(np.concatenate([s.error[..., 0] for s in reported])).all(axis=0)
    lost = [
        np.isnan(s.error[..., 0])[s.clip.outside & s.found[:, None] & columns_in_use] for s in looks
    ]
    flat = np.concatenate(lost)
    return float((flat.sum() + 1) / (len(flat) + 2))


def _spells(masks: Iterable[Mask], dt: float) -> tuple[int, float]:
    """Number of runs of True in the masks (F,), and their mean length in seconds.

    The length is that of spells in continuous time which show in so many frames, see
    poselift.train.absence.spells.
    """
    runs, frames = 0, 0
    for mask in masks:
        runs += int(mask[0]) + int((mask[1:] & ~mask[:-1]).sum())
        frames += int(mask.sum())
    return runs, -dt / np.log1p(-1 / max(frames / max(runs, 1), SHORTEST))


def _rate(mine: tuple[int, float], everyones: tuple[int, float]) -> float:
    """Events per second from (events, seconds), drawn to everybody's where there is little."""
    common = everyones[0] / max(everyones[1], 1.0)
    return (mine[0] + PRIOR_S * common) / (mine[1] + PRIOR_S)


def _events(looks: list[Seen], everyone: list[Seen]) -> dict:
    dt = looks[0].clip.dt_s

    def onsets(of: list[Seen], mask: str, group: str, where: int) -> tuple[int, float]:
        count, seconds = 0, 0.0
        for s in of:
            if mask == "swapped":
                on, here = s.swapped[group][:, None], (s.clip.view == where)[:, None]
            else:
                on, here = s.snapped[group], _limb_hidden(s.clip, group) == bool(where)
            begins = on & ~np.concatenate([np.zeros_like(on[:1]), on[:-1]])
            count += int((begins & here).sum())
            seconds += float(here.sum()) * dt
        return count, seconds

    def rate(mask: str, group: str, where: int) -> float:
        return _rate(onsets(looks, mask, group, where), onsets(everyone, mask, group, where))

    limbs = ("legs", "arms")
    lost = _spells([~s.found for s in looks], dt)
    return {
        "swap_hz": [[rate("swapped", g, view) for view in range(3)] for g in TELLING],
        "swap_s": [_spells([s.swapped[g] for s in everyone], dt)[1] for g in TELLING],
        "snap_hz": [[rate("snapped", g, which) for which in range(2)] for g in limbs],
        "snap_s": [_spells([m for s in everyone for m in s.snapped[g].T], dt)[1] for g in limbs],
        "lost_hz": lost[0] / (dt * sum(len(s.found) for s in looks)),
        "lost_s": lost[1],
    }


def _limb_hidden(clip: Clip, group: str) -> Mask:
    """Whether a limb's telling points hide, (F, 2) left and right."""
    rows = [[POINTS.index(f"{side}_{p}") for p in TELLING[group]] for side in ("left", "right")]
    return np.stack([clip.hidden[:, row].any(axis=1) for row in rows], axis=1)
