"""Progress on stderr: bars on a terminal, few plain lines in a log."""

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

Report = Callable[[str, int, int | None], None]

# A log gets a line at the end of each step of the work, and one in so many seconds within it.
LINE_EVERY_S = 10.0


@contextmanager
def progress_on_stderr(quiet: bool) -> Generator[Report, None, None]:
    """A bar for each step of the work, plain lines where stderr is no terminal; none if `quiet`."""
    if quiet:
        yield lambda step, done, whole: None
    elif is_terminal():
        with _bars() as report:
            yield report
    else:
        yield _Lines()


def is_terminal() -> bool:
    """Whether stderr can show a bar that moves."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def _bars() -> Generator[Report, None, None]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def report(step: str, done: int, whole: int | None) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=whole)
            bars.update(tasks[step], completed=done, total=max(whole, done) if whole else None)

        yield report


class _Lines:
    """Progress for a log file: few lines, no control characters."""

    def __init__(self) -> None:
        self._step = ""
        self._ended = False
        self._line_s = time.monotonic()

    def __call__(self, step: str, done: int, whole: int | None) -> None:
        if step != self._step:
            self._step, self._ended = step, False
        ends = whole is not None and done >= whole
        if self._ended or not (ends or time.monotonic() - self._line_s >= LINE_EVERY_S):
            return
        self._ended, self._line_s = ends, time.monotonic()
        print(f"{step}: {done}/{whole or '?'}", file=sys.stderr, flush=True)


@contextmanager
def training_on_stderr(steps: int) -> Generator[Callable[[Any], None], None, None]:
    """A bar with loss and error; where stderr is no terminal, a line at each validation."""
    if not is_terminal():
        yield _training_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("step {task.completed}/{task.total}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=steps)
        yield lambda state: bars.update(
            task, completed=state.step, description=_training_text(state)
        )


def _training_lines() -> Callable[[Any], None]:
    shown: list[float | None] = [None]

    def report(state: Any) -> None:
        # A report repeats the last validation until the next one.
        if state.validation_mm != shown[0]:
            shown[0] = state.validation_mm
            line = f"step {state.step}/{state.steps}  {_training_text(state)}"
            print(line, file=sys.stderr, flush=True)

    return report


def _training_text(state: Any) -> str:
    error = "-"
    if state.validation_mm is not None:
        error = f"{state.validation_mm:.1f} mm (best {state.best_mm:.1f})"
    rate = f"{state.frames_per_s:,.0f} frames/s"
    return f"loss {state.loss:.4f}  validation {error}  {rate}"
