import threading
from urllib.request import urlopen

import numpy as np
import pytest

from poselift.errors import InputError
from poselift.view.live import LiveView, Player, _heights, serve
from poselift.view.page import quiet_server
from poselift.view.stage import stage

from .walker import two_people

pytest.importorskip("viser")


def test_the_player_keeps_the_time_of_the_motion():
    player = Player(np.array([1.0, 1.1, 1.2, 1.5]))
    assert player.frame == 0
    player.advance(0.11)
    assert player.frame == 1
    player.speed = 0.5
    player.advance(0.2)
    assert player.frame == 2
    player.advance(10.0)
    assert player.frame == 0
    player.playing = False
    player.advance(5.0)
    assert player.frame == 0


def test_single_steps_stop_at_the_ends():
    player = Player(np.array([0.0, 0.1, 0.2]))
    player.step(1)
    assert (player.frame, player.playing) == (1, False)
    player.step(5)
    assert player.frame == 2
    player.step(-9)
    assert player.frame == 0


def test_one_frame_plays_without_end():
    player = Player(np.array([3.0]))
    for _ in range(100):
        player.advance(0.1)
        assert player.frame == 0


def test_ticks_move_the_people():
    shown = stage(two_people(seconds=1.0))
    with quiet_server(0) as server:
        view = LiveView(server, shown)
        limbs = server.scene.get_handle_by_name("/person 1/limbs")
        start = limbs.batched_positions.copy()
        view.tick(0.5)
        assert view.player.frame == 15
        assert np.abs(limbs.batched_positions - start).max() > 0.1


def test_heights_of_one_joint_are_plotted_for_everybody():
    shown = stage(two_people(seconds=1.0))
    time_s, first, second = _heights(shown, "pelvis")
    assert len(time_s) == len(first) == len(second) == 30
    assert first == pytest.approx(0.93, abs=0.03)
    assert np.isnan(second[15])


def test_it_serves_on_this_computer_until_it_is_stopped(capfd):
    stop, pages = threading.Event(), []

    def ready(address):
        assert address.startswith("http://127.0.0.1:")
        with urlopen(address, timeout=20) as answer:
            pages.append(answer.read())
        stop.set()

    before = set(threading.enumerate())
    serve(two_people(seconds=0.5), 0, open_browser=False, on_ready=ready, stop=stop)
    assert b"<html" in pages[0]
    assert set(threading.enumerate()) <= before
    assert capfd.readouterr() == ("", "")


def test_an_impossible_port_is_refused():
    with pytest.raises(InputError, match="65535"):
        serve(two_people(seconds=0.2), 70000)


def test_control_c_stops_it_from_the_moment_that_it_is_ready():
    def stopped(_address):
        raise KeyboardInterrupt

    serve(two_people(seconds=0.2), 0, open_browser=False, on_ready=stopped)
