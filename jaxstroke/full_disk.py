"""A disk that is full: one message in place of what every library prints of it, and an end that keeps what was saved."""

import asyncio
import logging
import os
import sys

from jaxstroke import restart
from jaxstroke import workdir as work

WORDS = ("No space left on device", "File too large", "Disk quota exceeded")  # ENOSPC, EFBIG, EDQUOT as every library writes them
AFTERMATH = "Event loop is closed"  # writes that were under way beside the one that failed have nobody left to tell


def is_cause(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, says that a file could not grow: libraries in C++ raise it as an error of their own."""
    seen = set()
    while error is not None and id(error) not in seen:
        if any(words in str(error) for words in WORDS):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def keep_libraries_quiet():
    """A library logs an error with its trace before it raises it, and one in C++ prints those of its own threads: `stop` says it once.

    Of many reads at once that fail, as of a damaged checkpoint, the first is raised; asyncio and Python would print all the others.
    """
    logging.getLogger("asyncio").addFilter(lambda record: "never retrieved" not in record.getMessage())
    logging.getLogger("absl").addFilter(lambda record: not (record.exc_info and is_cause(record.exc_info[1])))
    sys.unraisablehook = print_trace


def print_trace(unraisable):
    beside = asyncio.iscoroutine(unraisable.object) or str(unraisable.exc_value) == AFTERMATH
    if not beside and not is_cause(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


def stop(error: BaseException) -> int:
    """Say what to do, and give the exit code; a program ends here."""
    print(
        "error: a disk is full, or a file may not grow further; what was saved before is kept. Make room for --workdir (and "
        f"cohort.records), then resume with: {work.command_line()}\n({' '.join(str(error).split())[:300]})",
        file=sys.stderr,
        flush=True,
    )
    if restart.is_program:
        os._exit(2)  # at an orderly exit the threads of several libraries would each try to write once more, and print their failure
    return 2
