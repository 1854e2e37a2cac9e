"""The table of lifters: what is known about each before it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Gives = Literal["centre", "all", "stream"]
Input = Literal["person", "screen"]


@dataclass(frozen=True)
class LifterInfo:
    """What is known about a lifter before it is loaded.

    frames: receptive field; gives: which of them one run returns; target: "module:Class" of the
    network, whose `Config` takes `config`; original_licence: of the authors' code and weights, of
    which nothing is used here. macs_per_frame: multiply-adds for one answer, as
    `poselift.train.cost` counts them; 0: not counted.

    input: joints in the person's own window (`poselift.normalize`), or, as most published systems
    take them, in the whole image: x / w * 2 - 1, y / w * 2 - h / w. rate_hz: what the network's
    frames are apart in training.

    A joint that was not seen is NaN for `Lifter`, which gives the network 0 in its place. Networks
    take finite numbers: a graph that is loaded refuses NaN, a network of torch answers with NaN.
    """

    name: str
    target: str  # "" where there is no network
    frames: int
    parameters: int
    gives: Gives
    citation: str
    original_licence: str
    config: Mapping[str, object] = field(default_factory=dict)
    skeleton_in: str = "h36m17"
    skeleton_out: str = "h36m17"
    licence: str = "Apache-2.0"
    input: Input = "person"
    rate_hz: float = 30.0
    macs_per_frame: int = 0


@dataclass(frozen=True)
class _System:
    """What the sizes of one system share."""

    stem: str
    target: str
    citation: str
    original_licence: str
    gives: Gives = "centre"

    def frames(self, counts: Mapping[int, tuple[int, int]]) -> list[LifterInfo]:
        """One record for each number of frames, with its parameters and multiply-adds."""
        return [
            self.record(f"{self.stem}-{frames}", count, frames, macs=macs, frames=frames)
            for frames, (count, macs) in counts.items()
        ]

    def record(
        self, name: str, parameters: int, receptive: int = 1, *, macs: int = 0, **config: object
    ) -> LifterInfo:
        """One record; `macs` per frame, `config` of the network."""
        return LifterInfo(
            name=name,
            target=f"poselift.models.{self.target}",
            frames=receptive,
            parameters=parameters,
            gives=self.gives,
            citation=self.citation,
            original_licence=self.original_licence,
            config=config,
            macs_per_frame=macs,
        )


_STRIDED = _System(
    "strided",
    "strided:Strided",
    "Li et al., Exploiting Temporal Contexts with Strided Transformer, TMM 2022",
    "MIT",
)
_SEMGCN = _System(
    "semgcn",
    "semgcn:SemGCN",
    "Zhao et al., Semantic Graph Convolutional Networks, CVPR 2019",
    "Apache-2.0",
)
_CASCADE = _System(
    "cascade",
    "cascade:Cascade",
    "Li et al., Cascaded Deep Monocular 3D Human Pose Estimation (EvoSkeleton), CVPR 2020",
    "MIT",
)
_TCN = _System(
    "tcn",
    "tcn:TCN",
    "Pavllo et al., 3D human pose estimation in video (VideoPose3D), CVPR 2019",
    "CC BY-NC 4.0",
)
_SRNET = _System(
    "srnet", "srnet:SRNet", "Zeng et al., SRNet, ECCV 2020", "Apache-2.0 with CC BY-NC parts"
)
_DGNET = _System(
    "dgnet",
    "dgnet:DGNet",
    "Zhang et al., Dynamical Human-Joint Affinity, TIP 2021; our reading of the description",
    "no public code",
)
_MIXSTE = _System(
    "mixste", "mixste:MixSTE", "Zhang et al., MixSTE, CVPR 2022", "none stated", gives="all"
)
_PPCA = LifterInfo(
    name="ppca",
    target="",
    frames=1,
    parameters=3_345,
    gives="centre",
    citation="Tome et al., Lifting from the Deep, CVPR 2017; with full rotation",
    original_licence="GPL-3.0",
)
_MIXED = _System("mixed", "mixed:Mixed", "poselift", "Apache-2.0", gives="all")

_RIVER = _System("river", "river:River", "poselift, docs/river.md", "Apache-2.0", gives="stream")
# By size: parameters, multiply-adds per frame of a clip, and the shape of the network.
_RIVER_SIZES: dict[str, tuple[int, int, dict[str, int]]] = {
    "nano": (239_996, 4_723_376, {}),
    "small": (877_880, 16_564_955, {"width": 96, "depth": 6, "heads": 6, "ratio": 3}),
    "base": (2_041_804, 37_807_679, {"width": 128, "depth": 8, "heads": 8, "ratio": 3}),
}

LIFTERS: dict[str, LifterInfo] = {
    record.name: record
    for record in (
        *_STRIDED.frames(
            {
                27: (4_014_438, 65_054_208),
                81: (4_069_734, 202_798_080),
                243: (4_235_622, 670_699_008),
                351: (4_346_214, 1_048_250_880),
            }
        ),
        _SEMGCN.record("semgcn", 267_343, macs=4_510_464),
        _SEMGCN.record("semgcn-nonlocal", 434_703, macs=7_172_864, non_local=True),
        _CASCADE.record("cascade-2x2", 8_587_360, macs=8_556_544, stages=2, blocks=2),
        _CASCADE.record("cascade-3x3", 19_190_928, macs=19_126_272, stages=3, blocks=3),
        *_TCN.frames(
            {
                1: (4_291_635, 4_281_344),
                27: (8_555_571, 17_769_472),
                81: (12_753_971, 57_398_272),
                243: (16_952_371, 176_284_672),
            }
        ),
        *_SRNET.frames(
            {
                1: (899_029, 888_699),
                27: (1_829_515, 3_813_703),
                81: (2_720_791, 12_293_611),
                243: (3_612_067, 37_733_335),
            }
        ),
        *_DGNET.frames(
            {27: (407_689, 47_295_360), 81: (543_979, 145_646_208), 243: (680_269, 440_698_752)}
        ),
        *_MIXSTE.frames(
            {
                27: (33_673_219, 576_596_480),
                81: (33_700_867, 584_116_736),
                243: (33_783_811, 606_677_504),
            }
        ),
        _MIXSTE.record("mixste-27-narrow", 2_126_851, 27, macs=37_194_368, frames=27, width=128),
        _PPCA,
        *(
            _RIVER.record(f"river-{size}", count, macs=macs, **shape)
            for size, (count, macs, shape) in _RIVER_SIZES.items()
        ),
        _MIXED.record("mixed", 222_963, 27, macs=4_026_688),
    )
}
