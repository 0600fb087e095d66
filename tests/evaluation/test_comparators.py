import json
import pathlib

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from jaxstroke.evaluation import comparators


def cohort(n=200, seed=0):
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, 3)) * [10, 1, 0.1] + [60, 5, 1]
    label = (random.random(n) < 1 / (1 + np.exp(-(values[:, 0] - 60) / 8))).astype(float)
    return values, np.ones_like(values), label


def test_equals_scikit_learn_on_complete_data():
    values, mask, label = cohort()
    rows = np.arange(150)
    scaler = StandardScaler().fit(values[rows])
    reference = LogisticRegression(C=0.3, tol=1e-8, max_iter=1000).fit(scaler.transform(values[rows]), label[rows])
    found = comparators.apply(comparators.fit(values, mask, label, rows, 0.3), values, mask)
    np.testing.assert_allclose(found, reference.predict_proba(scaler.transform(values))[:, 1], atol=1e-5)


def test_numbers_survive_json_and_what_is_masked_is_never_read():
    values, mask, label = cohort()
    mask[::7, 1] = 0
    poisoned = np.where(mask > 0, values, np.nan)
    numbers = comparators.fit(values, mask, label, np.arange(150), 0.3)
    assert numbers == json.loads(json.dumps(comparators.fit(poisoned, mask, label, np.arange(150), 0.3)))
    np.testing.assert_array_equal(comparators.apply(numbers, values, mask), comparators.apply(numbers, poisoned, mask))


def test_rows_outside_the_fit_change_nothing():
    values, mask, label = cohort()
    other, flipped = values.copy(), label.copy()
    other[150:], flipped[150:] = 1e6, 1 - label[150:]
    assert comparators.fit(values, mask, label, np.arange(150), 0.3) == comparators.fit(other, mask, flipped, np.arange(150), 0.3)


def test_one_class_gives_a_constant_and_unknown_labels_are_left_out():
    values, mask, label = cohort()
    constant = comparators.apply(comparators.fit(values, mask, np.ones(200), np.arange(9), 0.3), values, mask)
    np.testing.assert_allclose(constant, 9.5 / 10)
    unknown = np.where(np.arange(200) % 5 == 0, np.nan, label)
    known = np.flatnonzero(np.isfinite(unknown))
    assert comparators.fit(values, mask, unknown, np.arange(200), 0.3) == comparators.fit(values, mask, label, known, 0.3)


def test_a_constant_and_an_unseen_column_do_no_harm():
    values, mask, label = cohort()
    values[:, 1], mask[:, 2] = 7, 0
    numbers = comparators.fit(values, mask, label, np.arange(200), 0.3)
    assert np.isfinite(comparators.apply(numbers, values, mask)).all()
    assert numbers["scale"][1] == 1 and numbers["median"][2] == 0


def test_volume_column():
    values, mask = comparators.with_volume(np.zeros((2, 1)), np.ones((2, 1)), np.array([np.nan, 9.99]))
    assert mask.tolist() == [[1, 0], [1, 1]] and values[1, 1] == pytest.approx(np.log(10))


def soop(folder: pathlib.Path):
    """Values, mask and label of the complete patients: age, NIHSS, sex, BMI, prior stroke, and which have a lesion mask."""
    table = pd.read_csv(folder / "participants.tsv", sep="\t", dtype="str", keep_default_na=False)
    table = table[[(folder / "lesions" / f"bwsr{name}_lesion.nii.gz").exists() for name in table["participant_id"]]]
    coded = {"89+": "89", "n/a": "nan", "F": "0", "M": "1"}
    names = ["age", "nihss", "sex", "bmi", "priorstroke", "gs_rankin_6isdeath"]
    numbers = table[names].replace(coded).astype(float).to_numpy()
    numbers = numbers[np.isfinite(numbers[:, [0, 1, 5]]).all(1)]
    return numbers[:, :5], np.isfinite(numbers[:, :5]), (numbers[:, 5] > 2).astype(float)


def test_clinical_regression_on_soop(data_root):
    values, mask, label = soop(data_root / "soop")
    if len(label) != 418:
        pytest.skip(f"the expected AUC was measured on 418 complete patients, here are {len(label)}")
    found = {False: [], True: []}
    for repeat in range(10):
        for train, test in StratifiedKFold(5, shuffle=True, random_state=repeat).split(values, label):
            for flags, scores in found.items():
                # Without flags as the reference was measured: medians in place of what is missing.
                medians = comparators.fit(values, mask, label, train, 0.3)["median"]
                x, known = (values, mask) if flags else (np.where(mask, values, medians), np.ones_like(mask))
                numbers = comparators.fit(x, known, label, train, 0.3)
                scores.append(roc_auc_score(label[test], comparators.apply(numbers, x[test], known[test])))
    assert np.mean(found[False]) == pytest.approx(0.761, abs=0.003)
    assert np.mean(found[True]) >= np.mean(found[False])
