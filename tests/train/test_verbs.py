"""The verbs of training and judging, through the door."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from poselift.cli import main
from poselift.errors import InputError
from poselift.report import read_results
from poselift.train import openbench, study
from poselift.train.batches import SynthConfig
from poselift.train.flow import FlowConfig
from poselift.train.loop import TrainConfig
from poselift.train.pack import read_pack
from poselift.train.ship import _commands
from poselift.train.study import Study, Variant, as_study, preset

NETWORK = {"frames": 9, "strides": [3, 3], "width": 16, "hidden": 16, "heads": 2, "layers": 1}
TINY = Study(
    "tiny",
    "Does anything help?",
    steps=3,
    batch=4,
    variants=tuple(
        Variant(
            f"tiny/{name}",
            "",
            "strided-27",
            SynthConfig(surface=surface),
            NETWORK,
            {"validation_batches": 1, "bf16": False, "validate_every": 3},
            seeds=2,
        )
        for name, surface in (("with", True), ("without", False))
    ),
    tracks=("clean",),
)


@pytest.fixture(autouse=True)
def small_benchmark(monkeypatch, tmp_path_factory):
    """Four clips of 20 frames, kept in a folder of the tests."""
    whole = openbench.make_track
    monkeypatch.setattr(
        openbench, "make_track", lambda p, t, lib: whole(p, t, lib, clips=4, frames=20)
    )
    monkeypatch.setattr(openbench, "_RARE_POSES", 200)
    monkeypatch.setattr("poselift.cli.judging.CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setitem(study.STUDIES, "tiny", TINY)


@pytest.fixture(scope="module")
def studied(tiny_pack, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study")
    assert main(["study", "tiny", str(tiny_pack), "-o", str(out), "--train-only"]) == 0
    return out


@pytest.fixture(scope="module", autouse=True)
def early_study(request):
    """`studied` is made before the function's own patches are."""
    study.STUDIES["tiny"] = TINY
    yield
    del study.STUDIES["tiny"]


def test_a_study_trains_every_variant_with_every_seed(studied):
    assert sorted(path.name for path in studied.iterdir()) == [
        *("tiny-with-seed0", "tiny-with-seed1", "tiny-without-seed0", "tiny-without-seed1")
    ]


def test_a_study_of_equal_time_gives_each_variant_as_many_steps_as_fit(tiny_pack, tmp_path):
    quick, slow = TINY.variants[0], TINY.variants[1]
    slow = replace(slow, changes=slow.changes | {"batch": 96})
    equal = replace(TINY, variants=(quick, slow), minutes=2 / 60)
    runs = study.train_study(equal, read_pack(tiny_pack), tmp_path, print, seeds=[0])
    configs = [json.loads((run[0] / "config.json").read_text()) for run in runs.values()]
    steps = [config["steps"] for config in configs]
    assert steps[0] > 1.5 * steps[1] > 0
    assert configs[0]["validate_every"] == steps[0] // 10
    again = study.train_study(equal, read_pack(tiny_pack), tmp_path, pytest.fail, seeds=[0])
    assert again == runs  # taken up with the steps that it began with: nothing is left to do


def test_a_study_that_is_trained_is_only_judged(studied, tiny_pack, capsys):
    before = {path: path.stat().st_mtime_ns for path in studied.glob("*/best.safetensors")}
    command = ["study", "tiny", str(tiny_pack), "-o", str(studied), "--quiet"]
    assert main(command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert str(studied / "report.json") in capsys.readouterr().out
    results = read_results(studied / "report.json")
    rows = results.select(metric="mpjpe_mm", stratum="all")
    assert {(row.lifter, row.seeds) for row in rows} == {("tiny/with", 2), ("tiny/without", 2)}
    assert {row.benchmark for row in rows} == {"study: tiny"}
    assert {row.command for row in rows} == {"poselift study tiny clips.npz -o runs/tiny"}
    assert "Does anything help?" in (studied / "report.md").read_text()


def test_unknown_studies_variants_and_presets_are_named(studied, tiny_pack, capsys):
    assert main(["study", "tinny", str(tiny_pack), "-o", str(studied)]) == 1
    assert "unknown study: found 'tinny' (known: data, full, mixers" in capsys.readouterr().err
    command = ["study", "tiny", str(tiny_pack), "-o", str(studied), "--only", "tiny/nope"]
    assert main(command) == 1
    assert "known: tiny/with, tiny/without" in capsys.readouterr().err
    command = ["reproduce", str(studied), "-o", str(studied / "x"), "--preset", "huge"]
    assert main(command) == 1
    assert "unknown preset: found 'huge' (known: full, tiny" in capsys.readouterr().err
    assert not (studied / "x").exists()


def test_runs_and_baselines_are_judged_side_by_side(studied, tiny_pack, capsys, tmp_path):
    runs = [str(studied / f"tiny-with-seed{seed}") for seed in (0, 1)]
    command = ["evaluate", str(tiny_pack), "--model", *runs, "mean-pose", "--name", "ours"]
    assert main([*command, "--tracks", "clean", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "ours" in shown
    assert "mean-pose" in shown
    assert main([*command, "--tracks", "clean", "--quiet", "-o", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"report.json", "report.md"}


def test_results_keep_what_is_not_judged_anew(studied, tiny_pack, tmp_path):
    command = ["results", str(tiny_pack), "-o", str(tmp_path), "--tracks", "clean", "--quiet"]
    assert main([*command, "--model", "mean-pose"]) == 0
    assert main([*command, "--model", "nearest"]) == 0
    rows = read_results(tmp_path / "results.json").select(metric="mpjpe_mm", stratum="all")
    assert {row.lifter for row in rows} == {"mean-pose", "nearest"}
    assert "poselift evaluate clips.npz --model nearest" in (tmp_path / "results.md").read_text()


def test_judging_anew_forgets_what_was_said_before(tiny_pack, tmp_path):
    command = ["results", str(tiny_pack), "-o", str(tmp_path), "--tracks", "real", "--quiet"]
    assert main([*command, "--model", "mean-pose"]) == 0
    path = tmp_path / "results.json"
    stale = path.read_text().replace('"stratum": "view:front"', '"stratum": "view:above"')
    stale = stale.replace('"stratum": "view:back"', '"stratum": "view:above"')
    path.write_text(stale)
    assert main([*command, "--model", "mean-pose"]) == 0
    labels = {row.stratum for row in read_results(path).records}
    assert "view:above" not in labels
    assert any(label.startswith("view:") for label in labels)
    assert main([*command, "--tracks", "clean", "--model", "mean-pose"]) == 0
    clean = read_results(path).select(track="clean")
    assert {row.stratum for row in clean} == {"all"}


def test_tracks_that_need_a_pack_say_so(capsys):
    assert main(["evaluate", "--tracks", "real", "--quiet"]) == 1
    assert "expected a pack" in capsys.readouterr().err
    assert main(["evaluate", "--tracks", "rael", "--quiet", "pack"]) == 1
    assert "pack does not exist" in capsys.readouterr().err


def test_everything_in_one_command(tiny_pack, tmp_path, monkeypatch, capsys):
    def build(folder, out, progress):
        out.write_bytes(tiny_pack.read_bytes())

    config = TrainConfig(
        steps=2, batch=4, bf16=False, validate_every=2, validation_batches=1, network=NETWORK
    )
    monkeypatch.setattr("poselift.train.clips.build", build)
    monkeypatch.setitem(study.PRESETS, "tiny", config)
    command = ["reproduce", str(tmp_path), "-o", str(tmp_path / "out"), "--tracks", "clean"]
    assert main([*command, "--quiet"]) == 0
    assert main([*command, "--quiet"]) == 0  # nothing is done twice, the report is the same
    results = read_results(tmp_path / "out" / "report.json")
    rows = results.select(metric="mpjpe_mm", stratum="all")
    assert {row.lifter for row in rows} == {"tiny", "mean-pose", "nearest"}


def test_train_passes_options_on_to_the_network(tiny_pack, tmp_path, capsys):
    command = ["train", str(tiny_pack), "-o", str(tmp_path / "run"), "--steps", "1", "--batch", "2"]
    words = [f"{name}={json.dumps(value)}" for name, value in NETWORK.items()]
    assert main([*command, "--set", *words]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["network"] == NETWORK
    assert main([*command, "--set", "width"]) == 1
    assert "expected NAME=VALUE, found width" in capsys.readouterr().err
    command[3] = str(tmp_path / "other")
    assert main([*command, "--set", "widht=3"]) == 1
    assert "unknown option of strided-27: found 'widht' (known: " in capsys.readouterr().err


def test_presets_are_configurations_of_runs():
    assert preset("tiny").network
    assert preset("full").network == {}
    renamed = as_study(TINY, read_results_of_nothing())
    assert renamed.records == ()


def read_results_of_nothing():
    from poselift.report import Results

    return replace(Results())


def test_train_passes_on_what_river_is_taught(tiny_pack, tmp_path, capsys):
    command = ["train", str(tiny_pack), "--model", "river-nano", "--steps", "1", "--batch", "2"]
    command += ["--set", "width=16", "depth=1"]
    words = ["--teach", "both_ways=0", "detector=coco17"]
    assert main([*command, "-o", str(tmp_path / "live"), *words, "--lengths", "0:9"]) == 0
    config = json.loads((tmp_path / "live" / "config.json").read_text())
    assert config["flow"]["both_ways"] == 0
    assert config["flow"]["detector"] == "coco17"
    assert config["flow"]["lengths"] == [[0.0, 9]]
    wrong = {
        "both_way=0": "--teach: found both_way (known: both_ways, detector",
        "both_ways=2": "both_ways: expected a share from 0 to 1, found 2",
        "scales=much": "scales: expected a weight of at least 0, found much",
        "on_axis=0": "on_axis: expected true or false, found 0",
        "detector=coco": "unknown detector: found 'coco' (known: body25, coco17",
    }
    for word, message in wrong.items():
        assert main([*command, "-o", str(tmp_path / "wrong"), "--teach", word]) == 1
        assert message in capsys.readouterr().err
    assert main([*command, "-o", str(tmp_path / "wrong"), "--decay", "2"]) == 1
    assert "expected a share of the steps from 0 to 1, found 2.0" in capsys.readouterr().err


def test_an_ablation_that_the_product_cannot_run_is_not_shipped(tiny_pack, tmp_path, capsys):
    run = str(tmp_path / "run")
    train = ["train", str(tiny_pack), "-o", run, "--model", "river-nano", "--steps", "1"]
    train += ["--batch", "2", "--set", "width=16", "depth=1", "--teach", "on_axis=false"]
    assert main(train) == 0
    assert main(["ship", run, str(tiny_pack), "-o", str(tmp_path / "out")]) == 1
    assert "expected a network of people on the axis" in capsys.readouterr().err


def test_the_command_in_a_record_gives_the_same_run(tmp_path, monkeypatch):
    """What `ship` writes down, read by the command line, is the configuration of the run."""
    config = TrainConfig(
        lifter="river-nano",
        steps=7,
        rate=1.2e-3,
        decay_share=0.73,
        optimizer="muon",
        compiled=True,
        flow=FlowConfig(
            lengths=((0.0, 27), (0.7, 81)), taught=0.5, detector="coco17", on_axis=False
        ),
        network={"width": 16, "skeleton_bias": False},
    )
    (command,) = _commands({"config": json.loads(json.dumps(asdict(config))), "step": 7})
    made = []

    class Noted:
        def __init__(self, config, *where):
            made.append(config)
            raise InputError("noted")

    monkeypatch.setattr("poselift.train.loop.Run", Noted)
    assert main(shlex.split(command)[1:]) == 1
    assert made == [config]
