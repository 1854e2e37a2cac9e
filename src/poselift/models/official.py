"""Weights of the systems' published code as weights of ours: which tensor is which.

Networks must have the published shape, and `faithful=True` where there is a choice. SRNet is known
with the source "others"; MixSTE is the class `MixSTE2` of its code; EvoSkeleton's is the list of
its stages, whose means and deviations are not among the weights.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from poselift.errors import UnknownNameError, WeightsError

_BOTH = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


@dataclass(frozen=True)
class Rule:
    r"""Tensors whose whole name matches `pattern` become `name`, changed by `change`.

    `name` may use the pattern's groups (\1, \2). Where lists hold different things in turns, `step`
    says how many, and the pattern's first group is an index that leaves `remainder`; \1 is then the
    turn. Names that end in [0], [1], ... are joined along the first axis.
    """

    pattern: str
    name: str
    change: Callable[[Tensor], Tensor] = lambda tensor: tensor
    step: int = 1
    remainder: int = 0

    def new_name(self, name: str) -> str | None:
        """The new name, or None where this rule does not apply."""
        match = re.fullmatch(self.pattern, name)
        if match is None:
            return None
        if self.step == 1:
            return match.expand(self.name)
        index = int(match[1])
        if index % self.step != self.remainder:
            return None
        return match.expand(self.name.replace(r"\1", str(index // self.step)))


def convert_state_dict(system: str, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published code's weights under our names, for `load_state_dict`.

    A prefix "module." is taken off. Raises UnknownNameError for the system, and WeightsError with
    the names where a tensor is not known or two become one.
    """
    if system not in _RULES:
        raise UnknownNameError("system with published weights", system, _RULES)
    names = {name.removeprefix("module."): tensor for name, tensor in official.items()}
    rules = _RULES[system](names)
    parts: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in names.items():
        found = [(rule, new) for rule in rules if (new := rule.new_name(name))]
        if len(found) != 1 or found[0][1] in parts:
            unknown.append(name)
            continue
        rule, new = found[0]
        parts[new] = rule.change(tensor)
    if unknown:
        raise WeightsError(
            f"weights of {system}", expected="only tensors of the published network", found=unknown
        )
    converted = _joined(parts)
    return converted | _cascade_extras(converted) if system == "cascade" else converted


def _joined(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parts [0], [1], ... of a tensor as one."""
    groups: dict[str, list[str]] = {}
    for name in sorted(parts):
        groups.setdefault(name.partition("[")[0], []).append(name)
    return {
        name: torch.cat([parts[part] for part in members]) if "[" in members[0] else parts[name]
        for name, members in groups.items()
    }


def _cascade_extras(converted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ours keeps beside the weights: all stages count, coordinates are as they come."""
    stages = {name.split(".")[1] for name in converted}
    return {
        "counted": torch.tensor(len(stages)),
        "input_mean": torch.zeros(17, 2),
        "input_deviation": torch.ones(17, 2),
        "target_mean_m": torch.zeros(16, 3),
        "target_deviation_m": torch.ones(16, 3),
    }


def _taps(kernel: Tensor) -> Tensor:
    """A convolution's kernel (O, C, taps) as a linear layer's weight (O, taps C); else as it is."""
    return kernel.transpose(1, 2).flatten(1) if kernel.ndim == 3 else kernel


def _matrix(kernel: Tensor) -> Tensor:
    """A pointwise convolution's kernel (O, C, 1, ...) as a matrix; biases as they are."""
    return kernel.flatten(1) if kernel.ndim > 2 else kernel


def _table(positions: Tensor) -> Tensor:
    return positions.squeeze(0)


def _strided(_: Iterable[str]) -> tuple[Rule, ...]:
    rules = [
        Rule(rf"encoder\.0\.{_BOTH}", r"embed.\1", _matrix),
        Rule(rf"encoder\.1\.{_NORM}", r"embed_norm.\1"),
        Rule(r"Transformer\.pos_embedding", "position", _table),
        Rule(r"Transformer_reduce\.model\.pos_embedding_1", "strided_positions.0", _table),
        Rule(r"Transformer_reduce\.model\.pos_embedding_2", "strided_positions.1", _table),
        Rule(r"Transformer_reduce\.model\.pos_embedding_3", "strided_positions.2", _table),
    ]
    encoders = {
        "Transformer": ("", "feed_forward.0", "feed_forward.3"),
        "Transformer_reduce": ("strided_", "feed_forward.expand", "feed_forward.contract"),
    }
    for encoder, (prefix, expand, contract) in encoders.items():
        theirs, ours = rf"{encoder}\.model\.layers\.(\d+)", rf"{prefix}layers.\1"
        for old, new in (("a_2", "weight"), ("b_2", "bias")):
            rules += [
                Rule(rf"{theirs}\.sublayer\.0\.norm\.{old}", f"{ours}.attention_norm.{new}"),
                Rule(rf"{theirs}\.sublayer\.1\.norm\.{old}", f"{ours}.feed_forward_norm.{new}"),
                Rule(rf"{encoder}\.model\.norm\.{old}", f"{prefix}norm.{new}"),
            ]
        rules += [
            Rule(
                rf"{theirs}\.self_attn\.linears\.([012])\.{_BOTH}", rf"{ours}.attention.qkv.\3[\2]"
            ),
            Rule(rf"{theirs}\.self_attn\.linears\.3\.{_BOTH}", rf"{ours}.attention.out.\2"),
            Rule(rf"{theirs}\.feed_forward\.w_1\.{_BOTH}", rf"{ours}.{expand}.\2", _matrix),
            Rule(rf"{theirs}\.feed_forward\.w_2\.{_BOTH}", rf"{ours}.{contract}.\2", _taps),
        ]
    for theirs, ours in (("fcn", "centre_head"), ("fcn_1", "every_head")):
        rules += [
            Rule(rf"{theirs}\.0\.{_NORM}", rf"{ours}.norm.\1"),
            Rule(rf"{theirs}\.1\.{_BOTH}", rf"{ours}.out.\1", _matrix),
        ]
    return tuple(rules)


def _semgcn(names: Iterable[str]) -> tuple[Rule, ...]:
    mixing = r"(?:nonlocal|non_local)_?"  # no name in Python 3, so that ports have others
    step = 2 if any(re.search(mixing, name) for name in names) else 1
    rules = []
    for theirs, ours, each in (
        (r"gconv_input\.()0", "first", 1),
        (r"gconv_layers\.(\d+)\.gconv1", r"blocks.\1.0", step),
        (r"gconv_layers\.(\d+)\.gconv2", r"blocks.\1.1", step),
    ):
        rules += [
            Rule(rf"{theirs}\.gconv\.W", f"{ours}.convolution.weight", step=each),
            Rule(rf"{theirs}\.gconv\.e", f"{ours}.convolution.logits", step=each),
            Rule(rf"{theirs}\.gconv\.bias", f"{ours}.convolution.bias", step=each),
            Rule(rf"{theirs}\.bn\.{_NORM}", rf"{ours}.norm.\2", step=each),
        ]
    for theirs, ours, each in (
        (rf"gconv_input\.()1\.{mixing}", "first_mix", 1),
        (rf"gconv_layers\.(\d+)\.{mixing}", r"mixes.\1", 2),
    ):
        for old, new in (("theta", "query"), ("phi", "key"), ("g", "value"), (r"W\.0", "out")):
            pattern = rf"{theirs}\.{old}(?:\.0)?\.{_BOTH}"
            rules.append(Rule(pattern, rf"{ours}.{new}.\2", _matrix, each, each - 1))
        pattern = rf"{theirs}\.concat_project\.0\.weight"
        rules.append(Rule(pattern, f"{ours}.score.weight", _matrix, each, each - 1))
        rules.append(
            Rule(rf"{theirs}\.W\.1\.{_NORM}", rf"{ours}.norm.\2", step=each, remainder=each - 1)
        )
    for old, new in (("W", "weight"), ("e", "logits"), ("bias", "bias")):
        rules.append(Rule(rf"gconv_output\.{old}", f"last.{new}"))
    return tuple(rules)


def _cascade(_: Iterable[str]) -> tuple[Rule, ...]:
    block = r"(\d+)\.res_blocks\.(\d+)"
    rules = [
        Rule(rf"(\d+)\.w1\.{_BOTH}", r"stages.\1.first.0.\2"),
        Rule(rf"(\d+)\.batch_norm1\.{_NORM}", r"stages.\1.first.1.\2"),
        Rule(rf"(\d+)\.w2\.{_BOTH}", r"stages.\1.last.\2"),
    ]
    for old, new in ((1, 0), (2, 1)):
        rules += [
            Rule(rf"{block}\.w{old}\.{_BOTH}", rf"stages.\1.blocks.\2.{new}.0.\3"),
            Rule(rf"{block}\.batch_norm{old}\.{_NORM}", rf"stages.\1.blocks.\2.{new}.1.\3"),
        ]
    return tuple(rules)


def _temporal_places(theirs: str) -> tuple[tuple[str, str, int, int], ...]:
    """VideoPose3D's names of its layers and ours: pattern, name, step, remainder."""
    return (
        (rf"expand_{theirs}()", "first", 1, 0),
        (rf"layers_{theirs}\.(\d+)", r"blocks.\1.wide", 2, 0),
        (rf"layers_{theirs}\.(\d+)", r"blocks.\1.point", 2, 1),
    )


def _temporal_norms() -> list[Rule]:
    return [
        Rule(rf"{theirs}\.{_NORM}", rf"{ours}.norm.\2", step=step, remainder=remainder)
        for theirs, ours, step, remainder in _temporal_places("bn")
    ]


def _tcn(_: Iterable[str]) -> tuple[Rule, ...]:
    rules = [
        Rule(rf"{theirs}\.weight", f"{ours}.convolution.linear.weight", _taps, step, remainder)
        for theirs, ours, step, remainder in _temporal_places("conv")
    ]
    return (*rules, *_temporal_norms(), Rule(rf"shrink\.{_BOTH}", r"last.linear.\1", _taps))


def _srnet(_: Iterable[str]) -> tuple[Rule, ...]:
    rules = _temporal_norms()
    places = [(t, f"{ours}.convolution", s, r) for t, ours, s, r in _temporal_places("conv")]
    for theirs, ours, step, remainder in (*places, ("final_layer()", "last", 1, 0)):
        info = rf"{theirs}\.get_part_info"
        rules += [
            Rule(
                rf"{theirs}\.group_conv\.(\d+)\.weight",
                rf"{ours}.own.\2.weight",
                _taps,
                step,
                remainder,
            ),
            Rule(
                rf"{info}\.m_conv\.(\d+)\.{_BOTH}", rf"{ours}.hints.\2.\3", _taps, step, remainder
            ),
            Rule(
                rf"{info}\.layers_bn\.(\d+)\.{_NORM}",
                rf"{ours}.norms.\2.\3",
                step=step,
                remainder=remainder,
            ),
        ]
    return tuple(rules)


def _mixste(_: Iterable[str]) -> tuple[Rule, ...]:
    rules = [
        Rule(rf"Spatial_patch_to_embedding\.{_BOTH}", r"embed.\1"),
        Rule("Spatial_pos_embed", "joint_position", _table),
        Rule("Temporal_pos_embed", "frame_position", _table),
        Rule(rf"Spatial_norm\.{_BOTH}", r"spatial_norm.\1"),
        Rule(rf"Temporal_norm\.{_BOTH}", r"temporal_norm.\1"),
        Rule(rf"head\.([01])\.{_BOTH}", r"head.\1.\2"),
    ]
    parts = {
        "norm1": "attention_norm",
        r"attn\.qkv": "attention.qkv",
        r"attn\.proj": "attention.out",
        "norm2": "feed_forward_norm",
        r"mlp\.fc1": "feed_forward.0",
        r"mlp\.fc2": "feed_forward.2",
    }
    for theirs, ours in (("STEblocks", "spatial"), ("TTEblocks", "temporal")):
        for old, new in parts.items():
            rules.append(Rule(rf"{theirs}\.(\d+)\.{old}\.{_BOTH}", rf"{ours}.\1.{new}.\2"))
    return tuple(rules)


# By our module's name; cascade is EvoSkeleton, tcn VideoPose3D.
_RULES: dict[str, Callable[[Iterable[str]], tuple[Rule, ...]]] = {
    "strided": _strided,
    "semgcn": _semgcn,
    "cascade": _cascade,
    "tcn": _tcn,
    "srnet": _srnet,
    "mixste": _mixste,
}
SYSTEMS = tuple(_RULES)
