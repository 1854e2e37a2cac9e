"""Weights from which training starts: those of a run, or of a lifter that ships its network."""

import hashlib
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor, nn

from poselift.errors import UnknownNameError, WeightsError
from poselift.io.files import atomic
from poselift.models import LIFTERS, named, weights_bytes, weights_record
from poselift.models.export import LEAST_HALVED
from poselift.models.stored import is_stored
from poselift.train import checkpoint


def starting_weights(start: str) -> dict[str, Tensor]:
    """Averaged weights of a run's last step, by its folder, or of a lifter by name or path.

    Raises UnknownNameError, and WeightsError where the lifter comes without its network.
    """
    last = Path(start) / checkpoint.LAST
    if last.is_file():
        return checkpoint.under("average", checkpoint.load(last)[0])
    if named(start) not in LIFTERS and not is_stored(start):
        ship = [name for name in LIFTERS if "network_file" in (weights_record(name) or {})]
        raise UnknownNameError("run or lifter to start from", start, ship)
    weights = load(weights_bytes(start, "network"))
    return {name: x.float() if x.is_floating_point() else x for name, x in weights.items()}


def begin(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put the weights into a fresh network. Raises WeightsError where they are another's."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = f"weights to start {type(model).__name__} from"
        found = f"{sum(x.numel() for x in weights.values()):,} numbers of another network"
        raise WeightsError(what, expected="those of the same network", found=found) from error


def write_network(model: nn.Module, name: str, folder: Path) -> dict[str, str]:
    """Write `<name>.safetensors`, large weights in 16 bits as in the graph.

    Returns what the lifter's record says of it. Raises OutputError.
    """
    weights = {
        key: (x.half() if x.is_floating_point() and x.numel() >= LEAST_HALVED else x).contiguous()
        for key, x in model.state_dict().items()
    }
    content = save(weights)
    path = folder / f"{name}.safetensors"
    with atomic(path) as part:
        part.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {"network_file": path.name, "network_sha256": digest}
