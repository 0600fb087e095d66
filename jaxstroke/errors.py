"""The exceptions that `main` turns into a line for the user: what is wrong, where and the cure (exit code 2), or stopped (0)."""


class InputError(Exception):
    """Something a user can mend: a table, a file, a config key or a workdir.

    The message names the patient, file, column or config key, and says what to do.
    """


class Stopped(KeyboardInterrupt):
    """SIGTERM or Ctrl-C came and nothing is lost: the same command goes on from here.

    It comes between any two lines, so it is no `Exception`: a reader that turns whatever goes wrong into "the file is damaged" must let it
    through, and asyncio, which orbax restores by, lets through a KeyboardInterrupt alone.
    """


def nearest(name: str, known) -> str:
    """` Did you mean 'x'?` for the closest of `known`, or the list of them; for the end of an error message."""
    import difflib

    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(sorted(known)) or 'none'}."


def listed(names, most: int = 4) -> str:
    """Names joined by commas, of more than `most` the first ones and how many there are beside."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
