"""Collapse sampled bodies into the small table that training poses (src/poselift/train/bodies.npz).

Input: a table of the linear dependence of keypoints and bone heads on anny's shape coefficients
(`body_table.npz`: arrays C, kk, jj, P0, PA, H0, HA, T0, TA) and sampled coefficients (`shapes.npz`:
B). Keypoint regressor and skinning are both linear, so that

    keypoint k = sum over bones j of  R_j (p_kj - c_kj h_j) + c_kj q_j

with R_j the rotation of bone j from its rest pose, h_j its rest head, q_j its posed head.

    python scripts/build_bodies.py body_table.npz shapes.npz
"""

import argparse
from pathlib import Path

import numpy as np

SMALLEST_WEIGHT = 1e-3  # dropping pairs below moves a keypoint by 0.18 mm at most


def collapse(table: dict[str, np.ndarray], coefficients: np.ndarray) -> dict[str, np.ndarray]:
    """Tables of S shapes from coefficients (S, A): see module docstring; metres, z up."""
    kept = np.abs(table["C"]) > SMALLEST_WEIGHT
    keypoint, bone, weight = table["kk"][kept], table["jj"][kept], table["C"][kept]
    total = np.zeros(len(table["labels"]))
    np.add.at(total, keypoint, weight)
    share = 1 / total[keypoint]
    heads = table["H0"] + np.tensordot(coefficients, table["HA"], 1)
    tails = table["T0"] + np.tensordot(coefficients, table["TA"], 1)
    points = table["P0"][kept] + np.tensordot(coefficients, table["PA"][:, kept], 1)
    local = (points - weight[:, None] * heads[:, bone]) * share[:, None]
    return {
        "bones": table["bones"].astype("U16"),
        "parents": table["parents"].astype(np.int64),
        "keypoints": table["labels"].astype("U16"),
        "pair_keypoint": keypoint.astype(np.int64),
        "pair_bone": bone.astype(np.int64),
        "pair_weight": (weight * share).astype(np.float32),
        "pair_local_m": local.astype(np.float32),
        "head_m": heads.astype(np.float32),
        "tail_m": tails.astype(np.float32),
        "source": np.array(
            "anny 0.6.2 (Apache-2.0, NAVER; MakeHuman data CC0), 60 shapes: 40 adults, "
            "10 children of 6-12 years, 10 seniors; x left, y back, z up; metres"
        ),
    }


def main() -> None:
    """Build the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("shapes", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/poselift/train/bodies.npz"))
    args = parser.parse_args()
    with np.load(args.table) as table, np.load(args.shapes) as shapes:
        bodies = collapse(dict(table), shapes["B"].astype(np.float64))
    np.savez_compressed(args.out, **bodies)
    print(f"{args.out}: {len(bodies['head_m'])} bodies, {args.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
