"""The program: `python -m jaxstroke.main --config configs/FILE.py:VARIANT --workdir RUN [--mode MODE] [--config.x.y=value]`.

A trained workdir knows its config: `--config` may then be left out. What a user can get wrong ends with one message and exit code 2.
"""

import logging
import re
import signal
import sys

from absl import logging as absl_logging
from etils import epath

from jaxstroke import check, command_line, compilations, full_disk, hosts, restart, terminal
from jaxstroke import config as settings
from jaxstroke import workdir as work
from jaxstroke.errors import InputError, Stopped

TOGETHER = ("train", "evaluate")  # modes that several processes can share, on the cohort of training
ENCODERS_ALONE = ("prepare", "train", "benchmark")  # modes of a config that pre-trains and learns no task
LONGEST = 10_000  # characters of a message
LONG_WORD = re.compile(r"(\S{200})\S{200,}")  # a damaged cell, file name or value
logger = logging.getLogger("jaxstroke")


def run(argv: list[str]) -> int:
    """Do what the command line asks; the exit code."""
    if set(argv[1:]) & {"--help", "-h", "-help"}:
        print(__doc__)
        print(command_line.define([argv[0]]).get_help())
        return 0
    values = command_line.parse(argv)
    if values.quiet:
        logger.setLevel(logging.WARNING)
    workdir = work.absolute(values.workdir)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"--workdir {values.workdir} is a file: name a folder")
    config = values.config
    if values.check:
        from jaxstroke.evaluation import report as reports

        work.check_one_run(workdir)
        print(reports.check(workdir))
        return 0
    if values.mode == "report":
        return report(workdir)
    check.check(config)
    if config.device.processes != 1 and (values.mode not in TOGETHER or values.cohort):
        raise InputError(f"--mode {values.mode} runs in one process: leave config.device.processes at 1")
    if settings.pretrains_alone(config) and values.mode not in ENCODERS_ALONE:
        raise InputError(
            f"--mode {values.mode} needs a network that was trained on outcomes, and config.train.stages = ('pretrain',) makes encoders "
            "alone: fine-tune from this workdir in another one, with --config.model.init_from"
        )
    set_up_jax(config)
    from jaxstroke import models  # JAX is imported only where it is needed

    models.named(config)
    if values.mode == "benchmark":
        from jaxstroke.benchmark import measure  # what reads files is not imported here

        measure.benchmark(config, workdir, command_line.given(argv, "config"), values.profile)
        return 0
    do(values, config, workdir)
    return 0


def do(values, config, workdir: epath.Path):
    """The modes that read a cohort or a trained workdir with JAX."""
    from jaxstroke.compare import mode as study
    from jaxstroke.explain import mode as explain
    from jaxstroke.interop import export, init_from
    from jaxstroke.training import external, modes, predict

    if values.mode == "prepare":
        modes.prepare_only(config, workdir)
    elif values.mode == "train":
        modes.train(config, workdir, Stop(), init_from.begin(config, workdir))
        logger.info("%s", compilations.count())
    elif values.mode == "compare":
        study.compare(config, workdir, Stop())
    elif values.mode == "evaluate" and values.cohort:
        external.validate(config, workdir, values.cohort)
    elif values.mode == "evaluate":
        modes.evaluate(config, workdir)
    elif values.mode == "predict":
        predict.predict(config, workdir, values.cohort, values.output)
    elif values.mode == "explain":
        explain.explain(config, workdir, values.cohort)
    elif values.mode == "export":
        export.export(config, workdir)


def report(workdir: epath.Path) -> int:
    """Metrics and report from the files of a workdir, or the comparison of a study, without JAX."""
    from jaxstroke.evaluation import comparison
    from jaxstroke.evaluation import report as reports

    if (workdir / "variants.json").exists():
        print(comparison.console_table(comparison.write(workdir)))
        print(f"comparison: {workdir / 'comparison.html'}")
        if not (workdir / "predictions.csv").exists():
            return 0
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
