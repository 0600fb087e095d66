"""Bytes changed as the world changes them. Every mutation is a function of a seed and a number alone, and says in words what it did."""

import contextlib
import random
import signal
from collections.abc import Callable
from signal import signal as set_handler  # bound before tests keep the program from setting handlers


def chance(*key) -> random.Random:
    """The random numbers of one input: the same for the same key, on every machine."""
    return random.Random(repr(key))


def flip(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One to eight bits."""
    changed, places = bytearray(content), []
    for _ in range(draw.choice((1, 1, 2, 8)) if content else 0):
        place, bit = draw.randrange(len(changed)), draw.randrange(8)
        changed[place] ^= 1 << bit
        places.append(f"{place}.{bit}")
    return bytes(changed), f"bits {' '.join(places)} flipped"


def cut(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """The end is missing, often all but the first few bytes."""
    end = draw.choice((draw.randrange(len(content) + 1), draw.randrange(min(len(content), 600) + 1), max(0, len(content) - 1)))
    return content[:end], f"cut to {end} bytes"


def remove(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A piece is missing."""
    start = draw.randrange(len(content) + 1)
    length = draw.choice((1, 2, 16, 512, 4096))
    return content[:start] + content[start + length :], f"{length} bytes removed at {start}"


def insert(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A piece of noise, zeros or line ends too much."""
    start, length = draw.randrange(len(content) + 1), draw.choice((1, 3, 64, 5000))
    piece = draw.choice((draw.randbytes(length), bytes(length), b"\r\n" * length))
    return content[:start] + piece + content[start:], f"{len(piece)} bytes inserted at {start}"


def overwrite(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A piece is noise, zeros or ones."""
    start, length = draw.randrange(len(content) + 1), draw.choice((1, 4, 100, 4096))
    piece = draw.choice((draw.randbytes(length), bytes(length), b"\xff" * length))[: len(content) - start]
    return content[:start] + piece + content[start + len(piece) :], f"{len(piece)} bytes overwritten at {start}"


def repeat(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A piece is there twice."""
    start, length = draw.randrange(len(content) + 1), draw.choice((4, 64, 4096, len(content)))
    return content[: start + length] + content[start:], f"{length} bytes at {start} repeated"


def line_ends(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Sent as text between systems."""
    return content.replace(b"\n", b"\r\n"), "line ends translated"


def other(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Something else under that name."""
    kinds = {
        "nothing": b"", "text": b"this is no such file\n" * 40, "a page": b"<!DOCTYPE html><html>404 not found</html>",
        "noise": draw.randbytes(2000),
        "zeros": bytes(4000), "a zip": b"PK\x03\x04" + draw.randbytes(500), "a DICOM file": bytes(128) + b"DICM" + draw.randbytes(900),
        "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    }  # fmt: skip
    name = draw.choice(sorted(kinds))
    return kinds[name], f"{name} instead"


ANY: tuple[Callable, ...] = (flip, flip, flip, cut, cut, remove, insert, overwrite, overwrite, repeat, line_ends, other)


def any_of(content: bytes, draw: random.Random) -> tuple[bytes, str]:
    """One mutation, or two on top of each other."""
    words = []
    for _ in range(draw.choice((1, 1, 1, 2))):
        content, word = draw.choice(ANY)(content, draw)
        words.append(word)
    return content, ", ".join(words)


class TooSlow(BaseException):
    """No code of the program catches it."""


@contextlib.contextmanager
def within(seconds: float):
    """Raise TooSlow where the block takes longer. In the main thread only, one block at a time."""

    def interrupt(number, frame):
        raise TooSlow(f"longer than {seconds} s")

    before = set_handler(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        set_handler(signal.SIGALRM, before)
