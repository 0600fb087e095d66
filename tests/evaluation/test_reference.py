"""The statistics against R: `tests/reference/reference.R` says how its values were made, with which versions; no R is needed here.

What has a closed form or is solved to the end agrees to 1e-9. The measures of calibration hold a ridge of 1e-6 against separable data,
which moves them by less than 1e-7 here; `rms::val.prob` stops its own fit at about 1e-9.
"""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from jaxstroke.evaluation import bootstrap, calibration, curves, delong, kappa, metrics, predictions
from jaxstroke.evaluation.auc import delong_p, mean_influence
from jaxstroke.evaluation.parts import tasks_of

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "reference"
EXACT = 1e-9
READERS = ("reader_a", "reader_b", "reader_c")


@pytest.fixture(scope="module")
def reference():
    return json.loads((FOLDER / "reference.json").read_text())


@pytest.fixture(scope="module")
def patients():
    return pd.read_csv(FOLDER / "patients.csv")


@pytest.fixture(scope="module")
def frame(patients):
    """The patients as `predictions.csv` would hold them: the network is the first model, a comparator the second, readers are columns."""
    models = {"network": "first", "clinical_logistic": "second"} | {f"column:{name}": name for name in READERS}
    where = {"repeat": 0, "seed": 0, "split": "test", "task": "poor"}
    return pd.concat(
        [
            predictions.block(rows["patient"], rows["patient"], rows[column], rows["label"], fold=fold, model=model, **where)
            for model, column in models.items()
            for fold, rows in patients.groupby("fold")
        ],
        ignore_index=True,
    )


def test_the_values_are_of_these_patients(reference, patients):
    assert reference["patients"] == len(patients) == patients["patient"].nunique()
    assert set(reference["packages"]) == {"pROC", "rms", "psych", "jsonlite"} and reference["r"]
    assert patients["first"].nunique() < len(patients)  # ties are part of the test


def test_delong_equals_proc(reference, patients):
    told = reference["delong"]
    scores = patients[["first", "second"]].to_numpy().T
    aucs, matrix = delong.covariance(scores, patients["label"].to_numpy())
    np.testing.assert_allclose(aucs, told["auc"], rtol=EXACT)
    np.testing.assert_allclose(np.diag(matrix), told["variance"], rtol=EXACT)
    assert matrix[0, 1] == pytest.approx(told["covariance"], rel=EXACT)
    assert delong.compare(*scores, patients["label"].to_numpy())["p"] == pytest.approx(told["p"], rel=EXACT)


def test_means_over_folds_equal_procs_folds(reference, frame, patients):
    told, models = reference["over_folds"], tasks_of(frame)["poor"].models
    auc, values = mean_influence(models["network"], 0, len(patients))
    assert (auc, (values**2).sum()) == (pytest.approx(told["auc"], rel=EXACT), pytest.approx(told["variance"], rel=EXACT))
    assert delong_p(models["network"], models["clinical_logistic"], len(patients)) == pytest.approx(told["p"], rel=EXACT)
    line = metrics.compute(frame, 10)["paired"][0]
    assert line["auc_difference"] == pytest.approx(told["difference"], rel=EXACT)
    assert line["p_delong"] == pytest.approx(told["p"], rel=EXACT)


def test_heterogeneity_of_groups_equals_the_formula(reference, frame, patients):
    told = reference["heterogeneity"]
    groups = {group: set(rows["patient"]) for group, rows in patients.groupby("group")}
    line = metrics.compute(frame, 10, groups={"group": groups})["interactions"][0]
    assert (line["column"], line["groups"], line["df"]) == ("group", told["groups"], told["df"])
    assert (line["chi2"], line["p"]) == (pytest.approx(told["chi2"], rel=EXACT), pytest.approx(told["p"], rel=EXACT))
    assert line["p_holm"] == line["p"]


def test_the_bootstrap_interval_is_procs_within_its_own_error(reference, patients):
    """Both draw 20,000 resamples within the classes. A 2.5 % quantile of so many of a normal variable has a standard error of 0.019 of its
    deviation, the difference of two of 0.027; four of those are allowed."""
    told = reference["bootstrap"]
    found = bootstrap.auc_interval(patients["first"].to_numpy(), patients["label"].to_numpy(), told["resamples"], seed=3)
    error = 4 * 0.027 * np.sqrt(reference["delong"]["variance"][0])
    np.testing.assert_allclose(found, told["ci95"], atol=error)
    assert error < 0.05 * (told["ci95"][1] - told["ci95"][0])


def test_calibration_equals_glm_and_val_prob(reference, frame, patients):
    told = reference["calibration"]
    probability, label = patients["first"].to_numpy(), patients["label"].to_numpy(float)
    odds = predictions.log_odds(probability)
    assert calibration.fit_recalibration(odds, label, ridge=0) == (
        pytest.approx(told["intercept"], rel=EXACT),
        pytest.approx(told["slope"], rel=EXACT),
    )
    found = calibration.measures(probability, label)
    assert found["in_the_large"] == pytest.approx(told["in_the_large"], rel=EXACT)
    for name in ("intercept", "slope"):
        assert found[name] == pytest.approx(told[name], rel=1e-7) == pytest.approx(told["val_prob"][name], rel=1e-7)
    numbers = metrics.compute(frame, 10)["tasks"]["poor"]
    assert numbers["brier"] == pytest.approx(told["brier"], rel=EXACT) == pytest.approx(told["val_prob"]["brier"], rel=EXACT)


def test_net_benefit_equals_the_formula(reference, patients):
    told = reference["net_benefit"]
    np.testing.assert_allclose(curves.THRESHOLDS, told["thresholds"], rtol=EXACT)
    found = curves.benefit(patients["first"].to_numpy() + told["moved_by"], patients["label"].to_numpy())
    np.testing.assert_allclose(found, told["benefit"], atol=EXACT)


def counted(first, second, levels=5):
    """`levels levels`: how many have each pair of grades."""
    return pd.crosstab(first, second).reindex(index=range(levels), columns=range(levels), fill_value=0).to_numpy(float)


def test_cohens_kappa_equals_psychs(reference, patients):
    assert len(reference["cohen"]) == 3
    for told in reference["cohen"]:
        counts = counted(patients[told["a"]], patients[told["b"]])
        for power, name in enumerate(("none", "linear", "quadratic")):
            assert kappa.cohen(counts, kappa.apart(np.arange(5), power)) == pytest.approx(told[name], rel=EXACT)


def test_fleiss_kappa_equals_the_formula_and_a_printed_example(reference, patients):
    told = reference["fleiss"]
    counts = np.stack([(patients[list(READERS)].to_numpy() == level).sum(1) for level in range(5)], 1)
    assert kappa.fleiss(counts) == pytest.approx(told["readers"], rel=EXACT)
    example = kappa.fleiss(np.array(told["example"]["counts"]))
    assert example == pytest.approx(told["example"]["kappa"], rel=EXACT) and round(float(example), 3) == told["example"]["printed"]


def test_a_reader_beside_the_network_equals_procs_coords(reference, frame):
    """Wilson's intervals through `metrics.json`, and the network's sensitivity at the reader's specificity, mean over folds."""
    told, found = reference["reader"], metrics.compute(frame, 10)
    cut = next(line for line in found["readers"] if line["model"] == "column:reader_a")["cuts"][1]
    assert cut["cut"] == 2 and cut["network_sensitivity"] == pytest.approx(told["model_sensitivity"], rel=EXACT)
    for name in ("sensitivity", "specificity"):
        assert cut[name] == {"value": pytest.approx(told[name], rel=EXACT), "ci95": pytest.approx(told[f"{name}_ci95"], rel=EXACT)}
    several = next(line for line in found["agreement"] if line["statistic"] == "fleiss")
    assert several["kappa"]["value"] == pytest.approx(reference["fleiss"]["readers"], rel=EXACT) and several["n"] == reference["patients"]
    pairs = [line["kappa"]["value"] for line in found["agreement"] if line["statistic"] == "cohen"]
    assert pairs == [pytest.approx(one["quadratic"], rel=EXACT) for one in reference["cohen"]]


def test_wilsons_interval_equals_prop_test(reference, patients):
    told, called = reference["reader"], patients["reader_a"] >= 2
    for name, side in (("sensitivity", called[patients["label"] == 1]), ("specificity", ~called[patients["label"] == 0])):
        assert side.mean() == pytest.approx(told[name], rel=EXACT)
        np.testing.assert_allclose(curves.wilson(side.mean(), len(side)), told[f"{name}_ci95"], rtol=EXACT)


def test_holm_equals_p_adjust(reference):
    told = reference["holm"]
    assert delong.holm(told["p"]) == [None if p is None else pytest.approx(p, rel=EXACT) for p in told["adjusted"]]
