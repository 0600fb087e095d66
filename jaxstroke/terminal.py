"""What a person watching sees: one line of progress a stage, drawn over itself in a terminal, plain lines now and then in a file.

`main --quiet` raises the logger's level to warnings, and progress with it; results are printed all the same.
"""

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger("jaxstroke")
PLAIN_SECONDS = (10.0, 60.0)  # between two plain lines: at first, and at most, doubling in between


def progress(stage: str, total: int, unit: str, done: int = 0) -> "Bar | Plain | Silent":
    """A stage's progress: `advance(n)`, `say(text)` what the line ends with, `shorten(n)` where less is left to do, `close()`.

    done: what an earlier start of the program did already; the time left is reckoned from the rest.
    """
    if total <= 0 or not logger.isEnabledFor(logging.INFO):
        return Silent()
    return (Bar if sys.stderr.isatty() else Plain)(stage, total, unit, done)


class Lines(logging.Handler):
    """Log lines on stderr, above a bar that is being drawn."""

    def emit(self, record: logging.LogRecord):
        tqdm.write(self.format(record), file=sys.stderr)


class Silent:
    """Nothing is shown: --quiet, or there is nothing to do."""

    def advance(self, count: int = 1):
        """`count` units are done."""

    def say(self, text: str):
        """Text behind the numbers."""

    def shorten(self, count: int):
        """`count` units fewer are to be done than was thought."""

    def close(self):
        """The stage has ended."""


class Bar:
    """A line drawn over itself, as wide as the terminal."""

    def __init__(self, stage: str, total: int, unit: str, done: int):
        shape = "{desc} {percentage:3.0f}% {bar:20} {n_fmt}/{total_fmt} " + unit + "s, {remaining} left{postfix}"
        self.bar = tqdm(
            desc=f"{stage:<8}", total=total, initial=done, file=sys.stderr, bar_format=shape, mininterval=0.5, dynamic_ncols=True
        )

    def advance(self, count: int = 1):
        self.bar.update(count)

    def say(self, text: str):
        self.bar.set_postfix_str(text, refresh=False)

    def shorten(self, count: int):
        self.bar.total -= count

    def close(self):
        self.bar.close()


class Plain:
    """Lines of a log: the first after ten seconds, then rarer; one at the end."""

    def __init__(self, stage: str, total: int, unit: str, done: int):
        self.stage, self.total, self.unit = stage, total, unit
        self.done = self.at_start = done
        self.text, self.began = "", time.monotonic()
        self.pause = PLAIN_SECONDS[0]
        self.next = self.began + self.pause

    def advance(self, count: int = 1):
        self.done += count
        now = time.monotonic()
        if now >= self.next and self.done < self.total:
            self.pause = min(2 * self.pause, PLAIN_SECONDS[1])
            self.next = now + self.pause
            left = (self.total - self.done) * (now - self.began) / max(1, self.done - self.at_start)
            self.write(f"{clock(left)} left")

    def say(self, text: str):
        self.text = text

    def shorten(self, count: int):
        self.total -= count

    def close(self):
        self.write(f"{clock(time.monotonic() - self.began)} in all")

    def write(self, when: str):
        share = 100 * self.done // max(1, self.total)
        said = f"{self.text}, " if self.text else ""
        logger.info("%s: %d of %d %ss (%d%%), %s%s", self.stage, self.done, self.total, self.unit, share, said, when)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
