"""One line of progress a stage: drawn over itself in a terminal, plain lines elsewhere, nothing with --quiet."""

import logging
import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from jaxstroke import main, terminal
from jaxstroke.training import progress, runs

STAGE = """
import logging, time
from jaxstroke import main, terminal
main.set_up_logging()
line = terminal.progress("train", 40, "step", 8)
for number in range(32):
    line.say(f"fold {number // 16 + 1}/2")
    line.advance()
    time.sleep(0.05)
    if number == 20:
        logging.getLogger("jaxstroke").warning("one file could not be used")
line.close()
"""


@pytest.fixture
def program_log():
    """The program's logging as it sets it up, put back afterwards."""
    log = logging.getLogger("jaxstroke")
    before = log.handlers, log.level, log.propagate
    main.set_up_logging()
    yield log
    log.handlers, log.level, log.propagate = before


def in_terminal(code: str) -> str:
    """What a program writes to a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 120))
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, stdout=theirs) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                block = os.read(ours, 4096)
            except OSError:  # how Linux says that the other end is closed
                block = b""
            if not block:
                break
            found += block
    os.close(ours)
    assert process.returncode == 0, found.decode()
    return found.decode()


def test_a_terminal_shows_one_line_and_what_is_logged_stands_above_it():
    shown = in_terminal(STAGE)
    drawn = [text for text in re.split(r"[\r\n]+", shown) if text.startswith("train")]
    assert len(drawn) > 3 and "20%" in drawn[0] and "8/40 steps" in drawn[0] and "40/40 steps" in drawn[-1]
    assert "fold 2/2" in drawn[-1] and "left" in drawn[-1]
    left = [text.strip() for text in shown.replace("\r\n", "\n").split("\n")]
    lines = [text.rpartition("\r")[2] for text in left if text.rpartition("\r")[2].strip()]
    assert len(lines) == 2 and lines[0].endswith("one file could not be used") and "100%" in lines[1]


def test_a_file_gets_plain_lines_that_become_rarer(program_log, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    line = terminal.progress("train", 1000, "step", 100)
    line.say("fold 1/5 val 0.612")
    for _ in range(600):
        now[0] += 0.5
        line.advance()
    line.shorten(300)
    line.close()
    shown = capsys.readouterr().err
    written = [text.partition(" ")[2] for text in shown.splitlines()]
    assert written[0] == "train: 120 of 1000 steps (12%), fold 1/5 val 0.612, 07:20 left"
    assert written[-1] == "train: 700 of 700 steps (100%), fold 1/5 val 0.612, 05:00 in all"
    assert len(written) == 7 and "\r" not in shown


def test_quiet_is_silent_but_for_warnings(program_log, capsys):
    program_log.setLevel(logging.WARNING)
    line = terminal.progress("train", 10, "step")
    for _ in range(10):
        line.advance()
    line.close()
    program_log.warning("two patients were left out")
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and "two patients were left out" in shown


def test_clock():
    assert [terminal.clock(seconds) for seconds in (0, 61.4, 3600, 36061)] == ["00:00", "01:01", "1:00:00", "10:01:01"]


def test_the_training_line_names_what_there_are_several_of(config_file):
    config = config_file.get_config("smoke")
    todo = [runs.Run(0, fold, inner, 0, *[[]] * 3) for fold in range(5) for inner in (None, 0, 1)]
    slot = progress.Slot(run=todo[4].id, epoch=3, sums={"dwi/poor": (6.0, 10.0), "adc/poor": (8.0, 10.0)})
    said = progress.words(config, todo, todo[4], slot, {"dwi": 0.5, "adc": None}, {"wait_share": 0.031})
    assert said == f"fold 2/5 inner 1/2 epoch 3/{config.train.epochs} loss 0.700 val 0.500 wait 3%"
    outer = progress.words(config, todo, todo[3], slot, {"dwi": 0.5, "adc": None}, {"wait_share": 0.031})
    assert outer.startswith("fold 2/5 epoch")
