import threading
import time

import numpy as np
import pytest

from poselift.view.live import serve
from poselift.view.page import write_page

from .browser import chromium, open_page
from .walker import two_people

pytest.importorskip("viser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        chromium() is None,
        reason="Chromium is not installed (apt-get install chromium): the page was NOT looked at",
    ),
]
SIZE_PX = (480, 400)
SLIDER = "document.querySelector('.mantine-Slider-root')"


def seek(page, share):
    """Click at that share of the time line, which also pauses; wait until it is drawn."""
    box = f"(r => [r.left, r.top, r.width, r.height])({SLIDER}.getBoundingClientRect())"
    left, top, width, height = page.run(box)
    for kind in ("mousePressed", "mouseReleased"):
        place = {"x": left + share * width, "y": top + height / 2}
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
    return settled(page)


def settled(page, seconds=30.0):
    """The middle of the page once it is the same twice: software rendering takes its time."""
    end, last = time.monotonic() + seconds, None
    time.sleep(1.0)
    while time.monotonic() < end:
        image = page.picture()[20:-60, 160:].astype(int)
        if last is not None and np.array_equal(image, last):
            return image
        last = image
        time.sleep(0.3)
    raise TimeoutError("the page does not come to rest")


def test_the_written_page_shows_people_who_move(tmp_path):
    path = tmp_path / "page.html"
    write_page(path, two_people(seconds=2.0))
    with open_page(path.as_uri(), tmp_path, SIZE_PX) as page:
        page.wait_for(f"document.querySelector('canvas') !== null && {SLIDER} !== null")
        start, end = seek(page, 0.02), seek(page, 0.45)
        assert page.errors == []
        assert [url for url in page.requests if url.startswith("http")] == []
    for image in (start, end):
        blue = (image[..., 2] - image[..., 0] > 60).sum()
        orange = (image[..., 0] - image[..., 2] > 60).sum()
        assert min(blue, orange) > 40, "the left and the right limbs are seen"
    assert (np.abs(start - end).max(-1) > 30).sum() > 200, "the people move"
    assert "left" in page_text(path)


def page_text(path):
    return path.read_text(encoding="utf-8").partition('id="poselift-legend"')[2]


def test_the_served_page_plays(tmp_path):
    stop, seen = threading.Event(), []

    def look(address):
        try:
            with open_page(address, tmp_path, SIZE_PX) as page:
                page.wait_for("document.body.innerText.includes('person 2')")
                page.wait_for("document.querySelector('canvas') !== null")
                seen.extend(page.errors)
                seen.append("played")
        finally:
            stop.set()

    looker = []

    def ready(address):
        looker.append(threading.Thread(target=look, args=(address,)))
        looker[0].start()

    serve(two_people(seconds=1.0), 0, open_browser=False, on_ready=ready, stop=stop)
    looker[0].join(timeout=60)
    assert seen == ["played"]
