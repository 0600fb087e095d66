"""What the threads that ask for reports tell each other: the budget, pauses, the answer's format, and when going on is of no use."""

import dataclasses
import logging
import threading
import time

from etils import epath

from jaxstroke.preprocess.report import answers, chat, instructions

logger = logging.getLogger("jaxstroke")
FIRST = 10  # reports, or those at once if more: where none of so many can be made, the others could not either, and would be paid for


class Never(Exception):
    """No attempt would make this report."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What is the same for all reports. budget: requests at most, 0 = no limit."""

    server: chat.Server
    asked: answers.Asked
    folder: epath.Path
    attempts: int
    at_once: int
    budget: int


class Shared:
    """What the threads of a run tell each other, under one lock."""

    def __init__(self, run: Run):
        self.run, self.lock, self.ended = run, threading.Lock(), threading.Event()
        self.over = ""  # why no request may be sent any more
        self.requests, self.resume, self.format = 0, 0.0, 0
        self.heard = self.made = False  # a reply of any kind; a report
        self.silent = self.lost = 0  # reports in a row without a reply; reports that are not made

    def begin(self):
        """Wait while the server wants a pause, and take a request out of the budget. Raises Never where none may be sent."""
        while not self.over and (left := self.resume - time.monotonic()) > 0:
            self.ended.wait(left)
        with self.lock:
            if not self.over and self.run.budget and self.requests >= self.run.budget:
                self.over = f"config.text.llm.budget = {self.run.budget} requests are used; the same command again goes on"
                self.ended.set()
            if self.over:
                raise Never(self.over)
            self.requests += 1

    def end(self, why: str):
        """No more requests; those under way may still come to something."""
        with self.lock:
            self.over = self.over or why
        self.ended.set()

    def pause(self, seconds: float):
        """For all: a server that is asked too often counts all requests of one key."""
        with self.lock:
            self.resume = max(self.resume, time.monotonic() + seconds)

    def hear(self):
        with self.lock:
            self.heard, self.silent = True, 0

    def lose(self, problem: str, silent: bool):
        """A report is not made. silent: all its attempts had no reply, of a server that is not there."""
        with self.lock:
            self.lost, self.silent = self.lost + 1, self.silent + silent
            gone = silent and (not self.heard or self.silent >= 2 * self.run.at_once)
            useless = not self.made and self.lost >= max(FIRST, self.run.at_once)
            lost = self.lost
        if gone:
            self.end(f"{problem}: check config.text.llm.url and whether it runs; the same command again goes on")
        elif useless:
            self.end(f"none of the first {lost} reports could be made, the last for: {problem}")

    def lower(self, used: int, said: str):
        """The server does not know the answer's format that was used: all go on with a looser one."""
        with self.lock:
            if self.format > used:
                return
            self.format = used + 1
            kind = (instructions.FORMATS[self.format] or {"type": "no response_format"})["type"]
        logger.info("the server does not take response_format %s (%s): asking with %s", instructions.FORMATS[used]["type"], said, kind)
