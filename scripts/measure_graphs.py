"""Do the shipped graphs of `river` gain from 8-bit integers or 16-bit floats in onnxruntime?

    python scripts/measure_graphs.py [--threads 1]

For the graph of whole clips and the step of a stream: milliseconds per frame, the fastest of many
runs, and the largest and mean difference to the shipped graph in mm, over people who walk.

int8      weights and inputs of all matrix products as 8-bit integers (dynamic quantisation)
bfloat16  matrix products in bfloat16, everything else in 32 bits
"""

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from poselift.errors import WeightsError
from poselift.models import build, weights_bytes
from poselift.models.lifter import session
from poselift.train.cost import fastest_ms
from poselift.train.runs import moments, walks

CLIP = 256


def main() -> None:
    """Measure and print one line for each graph and variant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="river-nano")
    args = parser.parse_args()
    torch.manual_seed(0)  # of the network whose memory the step begins with
    clip = {name: x.numpy() for name, x in walks(1, CLIP).items()}
    frame = {name: x.numpy() for name, x in moments(build(args.model), 1).items()}
    for graph, feed, frames in (("offline", clip, CLIP), ("step", frame, 1)):
        model = onnx.load_from_string(weights_bytes(args.model, graph))
        expected = None
        for name, change in (("as shipped", None), ("int8", int8), ("bfloat16", bfloat16)):
            try:
                changed = change(model) if change else model
                run = partial(session(changed.SerializeToString(), name, args.threads).run, None)
                found, ms = run(feed)[0], fastest_ms(partial(run, feed)) / frames
            except WeightsError as error:
                print(f"{graph:8} {name:11} cannot be run: {str(error)[:160]}")
                continue
            expected = found if expected is None else expected
            off = 1e3 * np.abs(found - expected)[..., :3]
            print(
                f"{graph:8} {name:11} {ms:.3f} ms per frame, differs by {off.mean():.2f} mm in the "
                f"mean, {off.max():.2f} at most"
            )


def int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with dynamically quantised matrix products."""
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(plain(model), before)
        quantize_dynamic(
            before, after, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
        )
        return onnx.load(after)


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its half-precision weights as 32-bit ones, which quantisation looks for."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    graph, kept = out.graph, {}
    for node in graph.node:
        halves = [
            x for x in graph.initializer if node.op_type == "Cast" and x.name == node.input[0]
        ]
        for half in halves:
            array = onnx.numpy_helper.to_array(half).astype(np.float32)
            kept[node.output[0]] = onnx.numpy_helper.from_array(array, node.output[0])
    nodes = [node for node in graph.node if node.output[0] not in kept]
    others = [x for x in graph.initializer if x.data_type != TensorProto.FLOAT16]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*others, *kept.values()])
    return out


def bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with casts around its matrix products."""
    out = plain(model)
    nodes = []
    for node in out.graph.node:
        if node.op_type != "MatMul":
            nodes.append(node)
            continue
        for place, name in enumerate(list(node.input)):
            low = f"{name}.{node.name}.low{place}"
            nodes.append(helper.make_node("Cast", [name], [low], to=TensorProto.BFLOAT16))
            node.input[place] = low
        answer, low = node.output[0], f"{node.output[0]}.low"
        node.output[0] = low
        nodes.append(node)
        nodes.append(helper.make_node("Cast", [low], [answer], to=TensorProto.FLOAT))
    del out.graph.node[:]
    out.graph.node.extend(nodes)
    return out


if __name__ == "__main__":
    main()
