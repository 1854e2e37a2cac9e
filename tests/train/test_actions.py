import pytest

from poselift.train.actions import ACTIONS, action_of


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("walk, veer left", "walk"),
        ("Run Jump Over", "jump"),
        ("run/jog, sudden stop", "run"),
        ("jumping jacks, jog, squats, side twists, stretches", "exercise"),
        ("soccer - kick ball", "sport"),
        ("Front Kick", "martial arts"),
        ("dance - cartwheel-like start, pirouettes, jete", "dance"),
        ("salsa/12", "dance"),
        ("playground - climb, sit, dangle legs", "climb"),
        ("sit on high stool, stand up", "sit"),
        ("drink soda, screw on bottlecap", "everyday"),
        ("prairie dog (human subject)", "animals and mime"),
        ("depositFloorR", "everyday"),  # HDM05's names
        ("hopBothLegs1hops", "jump"),
        ("jogLeftCircle4StepsRstart", "run"),
        ("lieDownFloor", "floor"),
        ("kickLFront1Reps", "martial arts"),
        ("woddy2_walk_normal_left_45", "walk"),  # SNU's
        ("wd2_short_broad_jump", "jump"),
        ("deep squat (incorrect execution)", "exercise"),  # UI-PRMD's
        ("sit to stand", "sit"),
        ("02/02_01", "other"),
        ("", "other"),
    ],
)
def test_coarse_classes(text: str, action: str) -> None:
    assert action_of(text) == action
    assert action in ACTIONS
