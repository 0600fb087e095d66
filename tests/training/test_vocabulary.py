"""Reports as a run's tokens: whose words its tokenizer knows, and the two controls in their place."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstroke.preprocess.load import Reports
from jaxstroke.training import runs, vocabulary


@dataclasses.dataclass(frozen=True)
class Said:
    """Of a unit, what is read here."""

    text: str


@dataclasses.dataclass(frozen=True)
class Cohort:
    units: tuple[Said, ...]
    reports: Reports


def config_with(trimodal_file, control: str):
    config = trimodal_file.get_config("smoke")
    with config.unlocked():
        config.text.control = control
    return config


def parts_of(sizes: tuple[int, int, int], seed: int) -> runs.Run:
    order = np.random.default_rng(seed).permutation(sum(sizes)).astype(np.int32)
    return runs.Run(0, 0, None, 0, *np.split(order, np.cumsum(sizes)[:2]))


@settings(max_examples=60, deadline=None)
@given(sizes=st.tuples(*[st.integers(0, 9)] * 3), missing=st.sets(st.integers(0, 26)), seed=st.integers(0, 99))
def test_shuffled_reports_stay_in_their_part_and_nobody_keeps_the_own_one(trimodal_file, sizes, missing, seed):
    config, run = config_with(trimodal_file, "shuffled"), parts_of(sizes, seed)
    texts = ["" if row in missing else f"report {row}" for row in range(sum(sizes))]
    found = vocabulary.controlled(config, texts, run)
    assert vocabulary.controlled(config, texts, run) == found
    for part in (run.train, run.val, run.held):
        before, after = ([of[row] for row in part] for of in (texts, found))
        assert sorted(before) == sorted(after)
        having = [row for row in part if texts[row]]
        assert [row for row in part if found[row]] == having
        assert len(having) < 2 or all(found[row] != texts[row] for row in having)


def test_what_training_patients_read_hangs_on_no_test_patient(trimodal_file):
    config, run = config_with(trimodal_file, "shuffled"), parts_of((9, 4, 6), 0)
    texts = [f"report {row}" for row in range(19)]
    other = [f"other {row}" if row in run.held else text for row, text in enumerate(texts)]
    first, second = (vocabulary.controlled(config, each, run) for each in (texts, other))
    assert [row for row in range(19) if first[row] != second[row]] == sorted(run.held)


def test_shuffled_without_a_run_is_dealt_among_all(trimodal_file):
    texts = ["", *(f"report {row}" for row in range(8))]
    found = vocabulary.controlled(config_with(trimodal_file, "shuffled"), texts)
    assert sorted(found) == sorted(texts) and found[0] == "" and all(a != b for a, b in zip(found[1:], texts[1:], strict=True))


def test_constant_reports_are_one_text_and_missing_ones_stay_missing(trimodal_file):
    config, run = config_with(trimodal_file, "constant"), parts_of((5, 2, 3), 0)
    texts = ["" if row in (2, 7) else f"the report of {row}" for row in range(10)]
    cohort = Cohort(tuple(Said(text) for text in texts), Reports({}, {}))
    found = vocabulary.tokens(config, cohort, run)
    mask, having = found["tokens_mask"], [row for row in range(10) if texts[row]]
    assert list(np.flatnonzero(mask.any(1))) == having and set(mask.sum(1)[having]) == {3}  # [CLS] . [SEP]
    assert len(np.unique(found["tokens"][having], axis=0)) == 1


@pytest.mark.parametrize("given", [False, True])
def test_a_tokenizer_is_of_training_reports_unless_one_was_given(trimodal_file, given):
    config, run = config_with(trimodal_file, "none"), parts_of((6, 3, 3), 1)
    texts = [f"{'zebra quagga' if row in (*run.val, *run.held) else 'left frontal infarct'} {row}" for row in range(12)]
    one = vocabulary.of_run(config, Cohort(tuple(map(Said, texts)), Reports({}, {})), run)
    assert "frontal" in one and "zebra" not in one and "z" not in dict_of(one)
    kept = Cohort(tuple(map(Said, texts)), Reports({}, {}, one if given else ""))
    other = dataclasses.replace(run, train=run.held, held=run.train)
    assert (vocabulary.of_run(config, kept, other) == one) == given


def dict_of(tokenizer: str) -> dict[str, int]:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer).get_vocab()
