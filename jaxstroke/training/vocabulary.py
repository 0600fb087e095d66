"""Reports as tokens of a run: its vocabulary is fitted on its own training patients, unless one was given (design: fold-fitted numbers).

The library behind it is imported where a report is read: a benchmark on arrays alone runs without.
"""

import functools
import logging

import numpy as np

from jaxstroke import config as settings

logger = logging.getLogger("jaxstroke")
EMPTY = "."  # the report that everybody has under `text.control` = constant


def of_run(config, loaded, run) -> str:
    """The tokenizer of a run as json text: the same whenever it is asked for."""
    if loaded.reports.vocabulary:
        return loaded.reports.vocabulary
    return fitted_on(tuple(loaded.units[row].text for row in run.train), config.text.vocabulary_size)


@functools.lru_cache(maxsize=64)  # of the runs of a cohort: each is asked for when it is trained, and when it is judged
def fitted_on(texts: tuple[str, ...], size: int) -> str:
    from jaxstroke.preprocess import wordpiece

    return wordpiece.fit(texts, size)


def tokens(config, loaded, run) -> dict[str, np.ndarray]:
    """`tokens` int32 and `tokens_mask`, `n t` each, of all rows of the cohort; {} where the network reads none of a run's own."""
    if not settings.reads(config) or settings.precomputes(config):
        return {}
    texts = controlled(config, [unit.text for unit in loaded.units], run)
    return encoded(config, of_run(config, loaded, run), texts)


def encoded(config, tokenizer: str, texts: list[str]) -> dict[str, np.ndarray]:
    """`tokens` and `tokens_mask` of texts, `n t`."""
    from jaxstroke.preprocess import wordpiece

    found, mask = wordpiece.encode(tokenizer, texts, config.text.length)
    return {"tokens": found, "tokens_mask": mask}


def controlled(config, texts: list[str], run=None) -> list[str]:
    """The reports as the network reads them, see `text.control`.

    Shuffled ones are dealt among the training, the validation and the other patients by themselves, so that none of the first two brings
    anything of a test patient; of new patients (run None) among all. Each goes one on around a circle, so that nobody keeps the own one
    but who is alone in a part. Who has no report gets none.
    """
    if config.text.control == "constant":
        return [EMPTY if text else "" for text in texts]
    if config.text.control == "none":
        return texts
    everyone = np.arange(len(texts))
    parts = [everyone] if run is None else [run.train, run.val, np.setdiff1d(everyone, np.concatenate([run.train, run.val]))]
    rng, found = np.random.default_rng([config.split.seed, 5]), list(texts)
    for part in parts:
        circle = rng.permutation([row for row in part if texts[row]]).astype(int)
        for row, other in zip(circle, np.roll(circle, 1), strict=True):
            found[row] = texts[other]
    return found


def warn_of_cut(config, loaded, tokenizer: str):
    """Say how many reports are longer than `text.length`."""
    from jaxstroke.preprocess import wordpiece

    count = wordpiece.cut(tokenizer, [unit.text for unit in loaded.units], config.text.length)
    if count:
        logger.warning(
            "%d of %d reports have more than the %d tokens of config.text.length, and lose their ends",
            count, sum(bool(unit.text) for unit in loaded.units), config.text.length,
        )  # fmt: skip
