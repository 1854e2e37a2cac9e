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

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import poselift
from poselift.errors import WeightsError
from poselift.io.files import atomic

OPSET = 18
# Largest difference allowed against torch as a share of the largest output, or of 1 m where that is
# smaller: of the 32-bit graph (rounding), and with 16-bit weights (each is off by up to 2^-11).
TOLERANCE = 1e-5
HALF_TOLERANCE = 2e-3
# Smaller tables stay in 32 bits: they hold norms and biases and save next to nothing.
LEAST_HALVED = 1024
LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Exported:
    """What was written, and its largest difference to torch over the check's inputs.

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
    example: Tensor,
    path: Path,
    *,
    half: bool = True,
    outputs: Sequence[str] = ("centre", "every"),
    metadata: Mapping[str, str] | None = None,
) -> Exported:
    """Write one ONNX file with input `joints` (any batch) and the module's outputs by name.

    The module is on the CPU and keeps its mode. `example` (B, ...) is a plausible input, B >= 2;
    the file is checked on it and on noise of its size. `metadata` is stored beside the network's
    class name ("name") and poselift's version ("version"). Raises WeightsError where onnxruntime
    and torch differ by more than the tolerances above, or weights do not fit 16 bits; OutputError.
    """
    training = module.training
    module.eval()
    try:
        model = _trace(module, example, outputs)
        inputs = _probes(example)
        with torch.inference_mode():
            expected = [_arrays(module(torch.from_numpy(x))) for x in inputs]
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


def _trace(module: nn.Module, example: Tensor, outputs: Sequence[str]) -> onnx.ModelProto:
    # It says that torchvision, which nothing here uses, is not installed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Deprecations inside the exporter itself; the result is checked by numbers.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            input_names=["joints"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise WeightsError("ONNX export", expected="a program", found="none")
    return program.model_proto


def _arrays(result: Tensor | tuple[Tensor, ...]) -> list[NDArray[np.float32]]:
    return [out.numpy() for out in (result if isinstance(result, tuple) else (result,))]


def _probes(example: Tensor) -> list[NDArray[np.float32]]:
    """The example, and noise of its spread in other batch sizes."""
    base = example.detach().cpu().numpy().astype(np.float32)
    random = np.random.default_rng(0)
    spread = float(base.std()) or 1.0
    noise = [random.normal(0, spread, (batch, *base.shape[1:])) for batch in (1, 5)]
    return [base, *(each.astype(np.float32) for each in noise)]


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
    inputs: Sequence[NDArray[np.float32]],
    expected: Sequence[Sequence[NDArray[np.float32]]],
    tolerance: float,
) -> float:
    """Largest difference between onnxruntime and `expected`. Raises WeightsError."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    difference, size = 0.0, 1.0
    for joints, wanted in zip(inputs, expected, strict=True):
        found = session.run(None, {"joints": joints})
        for one, other in zip(found, wanted, strict=True):
            # np.maximum keeps a NaN, which then fails the comparison below.
            difference = float(np.maximum(difference, np.abs(np.asarray(one) - other).max()))
            size = max(size, float(np.abs(other).max()))
    if not difference <= tolerance * size:
        raise WeightsError(
            f"{what} and torch differ", expected=f"at most {tolerance * size:g}", found=difference
        )
    return difference


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
