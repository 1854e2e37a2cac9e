"""Networks (torch) to the ONNX files that the product loads.

The file holds large weights as 16-bit floats, each behind a cast to 32 bits, so that everything is
computed in 32 bits; onnxruntime folds the casts when it loads the file.
"""

import hashlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

import poselift
from poselift.errors import WeightsError
from poselift.io.files import atomic

OPSET = 18
# Largest difference allowed against torch as a share of an output's largest value, or of 1 m where
# that is smaller: of the 32-bit graph (rounding), and with 16-bit weights (each off by 2^-11).
TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-3
# Smaller tables stay in 32 bits: they hold norms and biases and save next to nothing.
LEAST_HALVED = 1024
LARGEST_HALF = float(np.finfo(np.float16).max)
Inputs = Mapping[str, Tensor]
Feed = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from torch in the check: coordinates of the first output.

    difference_m is that of the 32-bit graph; half_difference_m that of the file where its weights
    have 16 bits, else None.
    """

    path: Path
    sha256: str
    size_bytes: int
    difference_m: float
    half_difference_m: float | None


def export_onnx(
    module: nn.Module,
    example: Tensor | Inputs,
    path: Path,
    *,
    half: bool = True,
    outputs: Sequence[str] = ("centre", "every"),
    axes: Mapping[str, Mapping[int, Dim]] | None = None,
    probes: Sequence[Inputs] = (),
    metadata: Mapping[str, str] | None = None,
) -> Exported:
    """Write one ONNX file with the module's inputs and outputs by name.

    The module is on the CPU and keeps its mode. `example` holds its inputs by name, in the order
    that it takes them, plausible and with no side of 1; a tensor alone is called `joints`. `axes`
    are those that may have any length, by input (left out: the first of each, the batch). The file
    is checked on the example and on the `probes`, which should have other lengths (none: noise of
    the example's spread in other batch sizes). `metadata` is stored beside the network's class
    name ("name") and poselift's version ("version"). Raises WeightsError where onnxruntime and
    torch differ by more than the tolerances above, or weights do not fit 16 bits; OutputError.
    """
    given = {"joints": example} if isinstance(example, Tensor) else example
    batch = Dim("batch")
    axes = axes or {name: {0: batch} for name in given}
    training = module.training
    module.eval()
    try:
        model = _trace(module, given, outputs, axes)
        inputs = [_numpy(each) for each in (given, *(probes or _noise(given)))]
        with torch.inference_mode():
            expected = [_answers(module, each) for each in inputs]
    finally:
        module.train(training)
    defaults = {"name": type(module).__name__, "version": poselift.__version__}
    _describe(model, {**defaults, **(metadata or {})})
    difference_m = _check("ONNX graph", model, inputs, expected, TOLERANCE)
    half_difference_m = None
    if half:
        _halve(model)
        half_difference_m = _check("16-bit weights", model, inputs, expected, HALF_TOLERANCE)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Exported(Path(path), digest, len(content), difference_m, half_difference_m)


def _trace(
    module: nn.Module,
    example: Inputs,
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, Dim]],
) -> onnx.ModelProto:
    # It says that torchvision, which nothing here uses, is not installed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Deprecations inside the exporter itself; the result is checked by numbers.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(example.values()),
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=tuple(dict(axes[name]) for name in example),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise WeightsError("ONNX export", expected="a program", found="none")
    return program.model_proto


def _numpy(inputs: Inputs) -> Feed:
    return {name: x.detach().cpu().numpy().astype(np.float32) for name, x in inputs.items()}


def _answers(module: nn.Module, feed: Feed) -> list[NDArray[np.float32]]:
    result = module(*(torch.from_numpy(x) for x in feed.values()))
    return [out.numpy() for out in (result if isinstance(result, tuple) else (result,))]


def _noise(example: Inputs) -> list[Inputs]:
    """Noise of the example's spread in other batch sizes."""
    g = torch.Generator().manual_seed(0)
    spread = {name: float(x.std()) or 1.0 for name, x in example.items()}
    return [
        {
            name: spread[name] * torch.randn(batch, *x.shape[1:], generator=g)
            for name, x in example.items()
        }
        for batch in (1, 5)
    ]


def _describe(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Store the metadata; drop the exporter's notes, which hold paths of the exporting machine."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:]
    for item in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    for key, value in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=value)


def _check(
    what: str,
    model: onnx.ModelProto,
    inputs: Sequence[Feed],
    expected: Sequence[Sequence[NDArray[np.float32]]],
    tolerance: float,
) -> float:
    """Largest difference in metres; all outputs are checked. Raises WeightsError."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    first, *others = (output.name for output in session.get_outputs())
    names = (f"{first}, coordinates", f"{first}, the rest", *others)
    difference, size = np.zeros(len(names)), np.ones(len(names))
    for feed, wanted in zip(inputs, expected, strict=True):
        pairs = list(zip(_parts(session.run(None, feed)), _parts(wanted), strict=True))
        # np.maximum keeps a NaN, which then fails the comparison below.
        apart = [np.abs(one - other).max(initial=0) for one, other in pairs]
        difference = np.maximum(difference, apart)
        size = np.maximum(size, [np.abs(other).max(initial=0) for _, other in pairs])
    for name, found, most in zip(names, difference, tolerance * size, strict=True):
        if not found <= most:
            raise WeightsError(
                f"{what} and torch differ in {name}", expected=f"at most {most:g}", found=found
            )
    return float(difference[0])


def _parts(outputs: Sequence[Any]) -> list[NDArray[np.float32]]:
    """Outputs that are compared on their own: metres first, then what else the first one holds."""
    first, *others = (np.asarray(output) for output in outputs)
    return [first[..., :3], first[..., 3:], *others]


def _halve(model: onnx.ModelProto) -> None:
    """Store large weights in 16 bits, each behind a cast back to 32."""
    graph, casts = model.graph, []
    for index, tensor in enumerate(graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LEAST_HALVED:
            continue
        if not np.abs(values).max() <= LARGEST_HALF:
            raise WeightsError(
                f"weights {tensor.name} in 16 bits",
                expected=f"finite, at most {LARGEST_HALF:g}",
                found=np.abs(values).max(),
            )
        name, stored = tensor.name, f"{tensor.name}.half"
        halved = onnx.numpy_helper.from_array(values.astype(np.float16), stored)
        graph.initializer[index].CopyFrom(halved)
        cast = onnx.helper.make_node(
            "Cast", [stored], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT
        )
        casts.append(cast)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
