"""The flags of the program, and what is wrong with them in one message."""

import os
import re
import traceback

from absl import flags
from ml_collections.config_flags import config_flags

from jaxstroke import workdir as work
from jaxstroke.errors import InputError, nearest

MODES = ("train", "prepare", "evaluate", "report", "compare", "predict", "explain", "export", "benchmark")
GOES_WITH = {  # flag: modes; --check reads a trained workdir, whatever else its config would do
    "output": ("predict",), "cohort": ("predict", "explain", "evaluate"), "profile": ("benchmark",), "check": ("train",),
}  # fmt: skip


def define(argv: list[str]) -> flags.FlagValues:
    """The flags; the config comes from its file, or from the workdir's `run.json` where no file is named."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Folder of this run; made if absent.", flag_values=values)
    flags.DEFINE_string("mode", "train", f"What to do: {', '.join(MODES)}.", flag_values=values)
    flags.DEFINE_string("cohort", "", "predict, explain: a table of new patients; evaluate: with outcomes.", flag_values=values)
    flags.DEFINE_string(
        "output", "", "predict: where to write predictions, default WORKDIR/external/.../predictions.csv.", flag_values=values
    )
    flags.DEFINE_boolean("profile", False, "benchmark: trace a few steps and list their costliest operations.", flag_values=values)
    flags.DEFINE_boolean("check", False, "Print the risk of bias of a trained workdir, after PROBAST+AI, and end.", flag_values=values)
    flags.DEFINE_boolean("quiet", False, "Warnings and results only, no progress.", flag_values=values)
    named = [argument.removeprefix("--").removeprefix("-").partition("=")[0] for argument in argv[1:]]
    if "config" in named:
        config_flags.DEFINE_config_file("config", None, "File with get_config, and a variant after a colon.", flag_values=values)
        return values
    trained = work.trained_config(work.absolute(given(argv, "workdir"))) if given(argv, "workdir") else None
    if trained is not None:
        config_flags.DEFINE_config_dict("config", trained, "The workdir's config.", flag_values=values)
    return values


def given(argv: list[str], name: str) -> str:
    """The value of a string flag before flags are parsed, "" where it is absent."""
    for place, argument in enumerate(argv):
        key, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and key == name:
            return value if equals else (argv[place + 1] if place + 1 < len(argv) else "")
    return ""


def parse(argv: list[str]) -> flags.FlagValues:
    """Parsed flags, or InputError for whatever is wrong with them."""
    try:
        values = define(argv)
        rest = values(argv)
        getattr(values.config if "config" in values else None, "keys", None)  # a file that is not there says so at the first look
    except InputError:
        raise
    except Exception as error:  # a config file is a program: it may fail in any way
        raise InputError(f"{place_of(error, given(argv, 'config').partition(':')[0])}: {plain(error)}") from None
    if rest[1:]:
        raise InputError(f"'{rest[1]}' is no flag: write --name=value.{nearest(rest[1].lstrip('-'), values)}")
    if values.mode not in MODES:
        raise InputError(f"--mode {values.mode} is unknown.{nearest(values.mode, MODES)}")
    if not values.workdir:
        raise InputError("--workdir is missing: name a folder for this run, such as --workdir runs/demo")
    for flag, modes in GOES_WITH.items():
        if getattr(values, flag) and values.mode not in modes:
            raise InputError(f"--{flag} goes with --mode {' or '.join(modes)}")
    if "config" not in values and values.check:
        raise InputError(f"{values.workdir} holds no trained run, of which --check could tell the risk of bias: train first")
    if "config" not in values:
        raise InputError(
            f"--config is missing, and {values.workdir} holds no run.json: name a config, such as --config configs/mri_cnn_lstm.py:demo"
        )
    return values


def plain(error: Exception) -> str:
    """An error's text; of one that quotes a traceback, its last line."""
    text = str(error).strip("'\"").replace("\\n", "\n").strip() or type(error).__name__
    text = text.splitlines()[-1] if "Traceback" in text else text
    return f"the config has no key '{text}'" if isinstance(error, KeyError) else text


def place_of(error: Exception, file: str) -> str:
    """The line of the config file that an error comes from; else the command line. ml_collections quotes some errors with their trace."""
    written = "".join(traceback.format_exception(error))
    lines = re.findall(rf'File ".*{re.escape(os.path.basename(file))}", line (\d+)', written) if file else []
    if lines:
        return f"config file {file}, line {lines[-1]}"
    return f"cannot read the command line with config file {file}" if file else "cannot read the command line"
