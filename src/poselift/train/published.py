"""Checkpoints that the authors of a system published, as lifters: an ONNX graph and its record.

Such a checkpoint was trained on Human3.6M: 2D joints of the whole image at 50 frames per second in,
metres in camera axes around the pelvis out. What of which system works: docs/weights.md.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poselift.errors import InputError, UnknownNameError, WeightsError
from poselift.io.files import atomic, check_input_file
from poselift.models import LIFTERS, LifterInfo, build
from poselift.models.export import Exported
from poselift.models.network import Network
from poselift.models.official import SYSTEMS, convert_state_dict
from poselift.skeleton import skeleton
from poselift.train.runs import export

H36M_HZ = 50.0
LICENCE = (
    "as the checkpoint's: check it (its authors' code: {}; Human3.6M, which it was trained on: no "
    "commercial use)"
)
# Where published training code keeps the tensors beside the state of the training.
_WRAPPED = ("model_pos", "state_dict", "model")
Say = Callable[[str], None]


def import_weights(
    name: str, checkpoint: Path, out: Path, say: Say, *, joints: str = "h36m17"
) -> Path:
    """Convert a checkpoint; writes `<lifter>-<checkpoint>.onnx` and `.json`, returns the graph.

    name: a lifter, or a system, whose sizes are then tried; joints: the skeleton of its 2D input.
    Raises UnknownNameError, FormatError (no such file), InputError (joints), WeightsError where the
    file holds no tensors or they fit no size, OutputError.
    """
    _check_joints(name, joints)
    model, info, tried = fitting(name, read_checkpoint(checkpoint), checkpoint.name)
    say(f"{checkpoint}: the tensors are those of {info.name} (tried: {', '.join(tried)})")
    record = replace(
        info,
        name=f"{info.name}-{checkpoint.name.partition('.')[0]}",
        licence=LICENCE.format(info.original_licence),
        input="screen",
        skeleton_in=joints,
        rate_hz=H36M_HZ if info.frames > 1 else info.rate_hz,
        config={**info.config, **_faithful(info)},
    )
    out.mkdir(parents=True, exist_ok=True)
    # SemGCN is judged around the pelvis it predicts; the others count theirs as 0 and move nothing.
    root = "free" if _system(info) == "semgcn" else "zero"
    exported = export(model, record, out / f"{record.name}.onnx", half=False, root=root)
    command = f"poselift import-weights {name} {checkpoint.name} -o {out.name}"
    if joints != "h36m17":
        command += f" --joints {joints}"
    card = _card(record, exported, command, checkpoint)
    with atomic(exported.path.with_suffix(".json")) as part:
        part.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return exported.path


def _card(record: LifterInfo, exported: Exported, command: str, source: Path) -> dict[str, Any]:
    """The record beside the graph; nothing was measured."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": record.name,
        "file": exported.path.name,
        "sha256": exported.sha256,
        "licence": record.licence,
        "made": datetime.now(UTC).date().isoformat(),
        "command": [command],
        "source": {"file": source.name, "sha256": digest},
        "export_difference_m": exported.difference_m,
        "lifter": {name: value for name, value in asdict(record).items() if name != "target"},
    }


# ------------------------------------------------------------------------------------- the file
class _Inert:
    """What numpy's objects in the training's state become: no code of theirs runs."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


_NUMPY = (
    *("numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct"),
    *("numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct"),
    *("numpy.dtype", "numpy.ndarray", "numpy.random.__RandomState_ctor"),
    *("numpy.random._pickle.__randomstate_ctor", "numpy.random._pickle.__bit_generator_ctor"),
    "numpy.random._mt19937.MT19937",
)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a network in a file of torch.save, by name; nothing in it is run.

    Raises FormatError (no such file), WeightsError.
    """
    check_input_file(path)
    expected = "a file of torch.save that holds tensors by name"
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in _NUMPY]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no common base class for its errors
        code = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        found = f"code ({code[1]}), which is not run" if code else "something else"
        raise WeightsError(f"{path}", expected=expected, found=found) from error
    if isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPED if key in content), content)
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        stages = ((f"{i}.", part) for i, part in enumerate(content))  # EvoSkeleton's
        content = {start + name: part[name] for start, part in stages for name in part}
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path}", expected=expected, found=type(content).__name__)
    others = [name for name, each in content.items() if not isinstance(each, Tensor)]
    if others:
        expected = f"tensors by name, bare or under {', '.join(_WRAPPED)}"
        raise WeightsError(f"{path}", expected=expected, found=f"other things: {others[:5]}")
    return dict(content)


# ---------------------------------------------------------------------------------- the network
def fitting(
    name: str, official: Mapping[str, Tensor], what: str
) -> tuple[Network, LifterInfo, list[str]]:
    """The network with these weights, its record, and the names of the sizes that were tried.

    Raises UnknownNameError, WeightsError.
    """
    sizes = _sizes(name)
    system, tried = _system(sizes[0]), [size.name for size in sizes]
    if system == "cascade":
        raise WeightsError(
            f"{what} cannot be imported",
            expected="a network of metres",
            found="EvoSkeleton's: deviations from means that are not in its checkpoints",
        )
    converted = convert_state_dict(system, official)
    differences = {}
    for size in sizes:
        with torch.device("meta"):
            wanted = build(size.name, **_faithful(size)).state_dict()
        # Counters of batch norms: older checkpoints lack them, and nothing reads them.
        counters = {n: torch.tensor(0) for n in wanted if n.endswith("num_batches_tracked")}
        tensors = {**counters, **converted}
        differences[size.name] = _differences(wanted, tensors)
        if not differences[size.name]:
            model = build(size.name, **_faithful(size)).eval()
            model.load_state_dict(tensors)
            return model, size, tried
    nearest = min(differences, key=lambda size: len(differences[size]))
    raise WeightsError(
        f"{what} as {nearest}", expected="its tensors", found=differences[nearest][0], known=tried
    )


def _sizes(name: str) -> list[LifterInfo]:
    """The lifter of that name, or all of a system."""
    published = [info for info in LIFTERS.values() if _system(info) in SYSTEMS]
    wanted = [
        info for info in published if name == (_system(info) if name in SYSTEMS else info.name)
    ]
    if not wanted:
        known = {*SYSTEMS, *(info.name for info in published)}
        raise UnknownNameError("system or lifter with published weights", name, known)
    return wanted


def _system(info: LifterInfo) -> str:
    """The network's module, which is the system's name."""
    return info.target.partition(":")[0].rpartition(".")[2]


def _faithful(info: LifterInfo) -> dict[str, Any]:
    """Options that make the network the published one; VideoPose3D's has no other form."""
    return {} if _system(info) == "tcn" else {"faithful": True}


def _differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """In words, where tensors differ in name or shape."""
    theirs, ours = ({name: tuple(t.shape) for name, t in each.items()} for each in (found, wanted))
    shapes = [
        f"{name} of {theirs[name]} instead of {shape}"
        for name, shape in ours.items()
        if theirs.get(name, shape) != shape
    ]
    missing = [f"no {name}" for name in ours if name not in theirs]
    return [*shapes, *missing, *(f"{name} too" for name in theirs if name not in ours)]


def _check_joints(name: str, joints: str) -> None:
    order = skeleton(joints)
    if len(order) != 17:
        raise InputError(f"--joints {joints}", expected="17 joints", found=len(order))
    if joints != "h36m17" and name.startswith("semgcn"):
        raise InputError("--joints", expected="h36m17, whose nose SemGCN leaves out", found=joints)
