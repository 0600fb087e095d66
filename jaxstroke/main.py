"""The program: `python -m jaxstroke.main --config configs/FILE.py:VARIANT --workdir RUN [--mode MODE] [--config.x.y=value]`.

A trained workdir knows its config: `--config` may then be left out. What a user can get wrong ends with one message and exit code 2.
"""

import logging
import os
import re
import signal
import sys
import traceback

from absl import flags
from absl import logging as absl_logging
from etils import epath
from ml_collections.config_flags import config_flags

from jaxstroke import check, compilations, full_disk, hosts, restart, terminal
from jaxstroke import workdir as work
from jaxstroke.errors import InputError, Stopped, nearest

MODES = ("train", "prepare", "evaluate", "report", "predict", "explain", "export", "benchmark")
TOGETHER = ("train", "evaluate")  # modes that several processes can share
LONGEST = 10_000  # characters of a message
LONG_WORD = re.compile(r"(\S{200})\S{200,}")  # a damaged cell, file name or value
logger = logging.getLogger("jaxstroke")


def define(argv: list[str]) -> flags.FlagValues:
    """The flags; the config comes from its file, or from the workdir's `run.json` where no file is named."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "Folder of this run; made if absent.", flag_values=values)
    flags.DEFINE_string("mode", "train", f"What to do: {', '.join(MODES)}.", flag_values=values)
    flags.DEFINE_string("cohort", "", "predict, explain: a table of new patients.", flag_values=values)
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
    if values.output and values.mode != "predict":
        raise InputError("--output goes with --mode predict")
    if values.cohort and values.mode not in ("predict", "explain"):
        raise InputError("--cohort goes with --mode predict and explain")
    if values.check and values.mode != "train":
        raise InputError("--check goes with --workdir alone, without --mode")
    if values.mode != "benchmark" and values.profile:
        raise InputError("--profile goes with --mode benchmark")
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


def run(argv: list[str]) -> int:
    """Do what the command line asks; the exit code."""
    if set(argv[1:]) & {"--help", "-h", "-help"}:
        print(__doc__)
        print(define([argv[0]]).get_help())
        return 0
    values = parse(argv)
    if values.quiet:
        logger.setLevel(logging.WARNING)
    workdir = work.absolute(values.workdir)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {values.workdir} is a file: name a folder")
    config = values.config
    if values.check:
        from jaxstroke.evaluation import report as reports

        print(reports.check(workdir))
        return 0
    if values.mode == "report":
        return report(workdir)
    check.check(config)
    if config.device.processes != 1 and values.mode not in TOGETHER:
        raise InputError(f"--mode {values.mode} runs in one process: leave config.device.processes at 1")
    set_up_jax(config)
    from jaxstroke import models  # JAX is imported only where it is needed

    models.named(config)
    if values.mode == "benchmark":
        from jaxstroke.benchmark import measure  # what reads files is not imported here

        measure.benchmark(config, workdir, given(argv, "config"), values.profile)
        return 0
    from jaxstroke.explain import mode as explain
    from jaxstroke.interop import export, init_from
    from jaxstroke.training import modes, predict

    if values.mode == "prepare":
        modes.prepare_only(config, workdir)
    elif values.mode == "train":
        modes.train(config, workdir, Stop(), init_from.begin(config, workdir))
        logger.info("%s", compilations.count())
    elif values.mode == "evaluate":
        modes.evaluate(config, workdir)
    elif values.mode == "predict":
        predict.predict(config, workdir, values.cohort, values.output)
    elif values.mode == "explain":
        explain.explain(config, workdir, values.cohort)
    elif values.mode == "export":
        export.export(config, workdir)
    return 0


def report(workdir: epath.Path) -> int:
    """Metrics and report from the files of a workdir, without JAX."""
    from jaxstroke.evaluation import report as reports

    metrics = reports.write_metrics(workdir)
    print(reports.console_table(metrics))
    print(f"report: {reports.write_report(workdir, metrics)}")
    return 0


def set_up_jax(config):
    """The persistent compilation cache and the count of what is compiled, before anything is.

    Every program is kept, however small: a second start of the smoke test reads its 45 in 0.9 s, and compiles 40 of them in 4 s otherwise.
    """
    import jax

    compilations.count()
    hosts.begin(config.device)
    if config.device.processes != 1 and not hosts.first():
        logger.setLevel(logging.WARNING)
    if config.device.cache:
        jax.config.update("jax_compilation_cache_dir", str(epath.Path(config.device.cache).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def set_up_logging():
    """Our own lines on stderr; libraries only where they warn. A second call in one process writes to what stderr is by then."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    full_disk.keep_libraries_quiet()
    handler = terminal.Lines()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class Stop:
    """Called, it says whether SIGTERM or Ctrl-C came. While training, the loop asks and saves; at any other time the program ends at once,
    since what was done before is on disk and the rest is made again."""

    def __init__(self):
        self.asked = False
        self.training = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def __call__(self) -> bool:
        return self.asked

    def ask(self, number, frame):
        if self.asked or not self.training:
            raise Stopped
        self.asked = True


def main(argv: list[str] | None = None) -> int:
    """Entry point: messages instead of tracebacks for what a user can mend."""
    set_up_logging()
    if argv is not None:
        sys.argv = list(argv)  # ml_collections looks for --config.x=y there
    try:
        return run(sys.argv)
    except Stopped:
        print(f"stopped, nothing is lost; resume with: {work.command_line()}")
        return 0
    except InputError as error:
        return refuse(str(error))
    except Exception as error:
        if full_disk.is_cause(error):
            return full_disk.stop(error)
        if isinstance(error, OSError) and error.filename is not None:
            return refuse(f"{error.filename} cannot be used ({error.strerror}): name another path, or mend its permissions")
        if isinstance(error, ImportError) and error.name is None:  # raised by hand: it says what reaches a bucket and is not installed
            return refuse(str(error))
        raise


def refuse(message: str) -> int:
    """One message, an overlong word or list in it cut, and the exit code."""
    message = LONG_WORD.sub(r"\1...", message)
    print(f"error: {message if len(message) <= LONGEST else f'{message[:LONGEST]} ...'}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    restart.with_kept_memory()
    sys.exit(main())
