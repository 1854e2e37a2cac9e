"""The verb import-weights: a published checkpoint as a lifter."""

import argparse
from pathlib import Path
from typing import Any

from poselift.cli.verbs import add_verb, needs_torch


def add_all(verbs: Any) -> None:
    """Add this verb to a parser."""
    parser = add_verb(
        verbs,
        "import-weights",
        _import,
        "a checkpoint that a system's authors published, as a lifter for every other verb",
        "examples:\n"
        "  poselift import-weights tcn pretrained_h36m_cpn.bin -o weights\n"
        "  poselift import-weights mixste-243 best_epoch.bin -o weights\n"
        "  poselift import-weights tcn detectron_coco.bin -o weights --joints coco17\n"
        "  poselift lift clip.mp4 -o out --model weights/tcn-243-pretrained_h36m_cpn.onnx\n\n"
        "systems: tcn (VideoPose3D), strided, semgcn, srnet, mixste; the sizes of a system are\n"
        "told apart by their tensors. Files are those of torch.save (.bin, .pth, .pth.tar, .pkl);\n"
        "code in them is not run. Written are an ONNX graph and a JSON record. Models trained\n"
        "on Human3.6M are not for commercial use. What works, what does not: docs/weights.md.",
    )
    parser.add_argument("name", metavar="SYSTEM_OR_LIFTER", help="tcn, or tcn-243 alone")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument(
        "--joints", default="h36m17", metavar="SKELETON", help="order of its 2D joints (h36m17)"
    )


def _import(args: argparse.Namespace) -> int:
    published = needs_torch("poselift.train.published")
    from poselift.models import info

    path = published.import_weights(args.name, args.checkpoint, args.out, print, joints=args.joints)
    print(f"licence: {info(path).licence}")
    print(path)
    print(path.with_suffix(".json"))
    return 0
