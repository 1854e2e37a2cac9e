"""The table of lifters: what is known about each before it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Gives = Literal["centre", "all", "stream"]


@dataclass(frozen=True)
class LifterInfo:
    """What is known about a lifter before it is loaded.

    frames: receptive field; gives: which of them one run returns; target: "module:Class" of the
    network, whose `Config` takes `config`; original_licence: of the authors' code and weights, of
    which nothing is used here.
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


@dataclass(frozen=True)
class _System:
    """What the sizes of one system share."""

    stem: str
    target: str
    citation: str
    original_licence: str
    gives: Gives = "centre"

    def frames(self, counts: Mapping[int, int]) -> list[LifterInfo]:
        """One record for each number of frames, with its count of parameters."""
        return [
            self.record(f"{self.stem}-{frames}", count, frames, frames=frames)
            for frames, count in counts.items()
        ]

    def record(
        self, name: str, parameters: int, receptive: int = 1, **config: object
    ) -> LifterInfo:
        """One record."""
        return LifterInfo(
            name=name,
            target=f"poselift.models.{self.target}",
            frames=receptive,
            parameters=parameters,
            gives=self.gives,
            citation=self.citation,
            original_licence=self.original_licence,
            config=config,
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
_MIXED = _System("mixed", "river:Mixed", "poselift", "Apache-2.0", gives="all")

LIFTERS: dict[str, LifterInfo] = {
    record.name: record
    for record in (
        *_STRIDED.frames({27: 4_014_438, 81: 4_069_734, 243: 4_235_622, 351: 4_346_214}),
        _SEMGCN.record("semgcn", 267_343),
        _SEMGCN.record("semgcn-nonlocal", 434_703, non_local=True),
        _CASCADE.record("cascade-2x2", 8_587_360, stages=2, blocks=2),
        _CASCADE.record("cascade-3x3", 19_190_928, stages=3, blocks=3),
        *_TCN.frames({1: 4_291_635, 27: 8_555_571, 81: 12_753_971, 243: 16_952_371}),
        *_SRNET.frames({1: 899_029, 27: 1_829_515, 81: 2_720_791, 243: 3_612_067}),
        *_DGNET.frames({27: 407_689, 81: 543_979, 243: 680_269}),
        *_MIXSTE.frames({27: 33_673_219, 81: 33_700_867, 243: 33_783_811}),
        _MIXSTE.record("mixste-27-narrow", 2_126_851, 27, frames=27, width=128),
        _PPCA,
        _MIXED.record("mixed", 222_963, 27),
    )
}
