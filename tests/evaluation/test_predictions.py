import numpy as np
import pytest

from jaxstroke.errors import InputError
from jaxstroke.evaluation import calibration, predictions


def test_round_trip(tmp_path, simulated):
    frame = calibration.add_recalibrated(simulated(ordinal=True, models=("network", "column:age")))
    predictions.write(tmp_path / "predictions.csv", frame)
    again = predictions.read(tmp_path / "predictions.csv")
    assert tuple(again.columns) == predictions.COLUMNS
    for name in predictions.COLUMNS:
        if name in predictions.NUMBERS:
            np.testing.assert_allclose(again[name], frame[name], rtol=1e-8)
        else:
            assert again[name].tolist() == frame[name].tolist()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("patient", ["007", "NA", "1e5", "a,b", 'say "x"', "null", "Zoë", " 12"])
def test_ids_stay_verbatim(tmp_path, patient):
    where = {"repeat": 0, "fold": 0, "seed": 0, "split": "new", "task": "t", "model": "network"}
    frame = predictions.block([patient], [f"{patient}/1"], [0.5], [np.nan], **where)
    predictions.write(tmp_path / "p.csv", frame)
    again = predictions.read(tmp_path / "p.csv")
    assert again["patient_id"].tolist() == [patient] and again["unit_id"].tolist() == [f"{patient}/1"]
    assert again["label"].isna().all()


def test_log_odds_are_clipped_and_scores_have_none(simulated):
    odds = predictions.log_odds(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(odds).all() and odds[1] == 0 and odds[2] == pytest.approx(-odds[0])
    frame = simulated(models=("network", "rule:scalar_age", "column:nihss"))
    assert predictions.rank_only(frame) == {"rule:scalar_age", "column:nihss"}
    assert frame.loc[frame["model"] == "column:nihss", "logit"].isna().all()
    fused = frame.assign(logit=np.where(frame["model"] == "network", np.nan, frame["logit"]))
    assert "network" in predictions.rank_only(fused)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("probability", 1.2, "unit_id 000.*not within 0 and 1"),
        ("probability", np.nan, "not within 0 and 1"),
        ("label", 0.5, "label of"),
        ("label", 2.0, "label of"),
        ("split", "tset", "tset.*test"),
        ("patient_id", "", "patient_id.*row 1"),
    ],
)
def test_what_cannot_be_right_is_named(simulated, column, value, words):
    frame = simulated()
    first = frame.index[frame["unit_id"] == "000"][0]
    frame = frame.iloc[[first, *(row for row in range(len(frame)) if row != first)]].reset_index(drop=True)
    frame.loc[0, column] = value
    with pytest.raises(InputError, match=words):
        predictions.validate(frame)


def test_duplicates_missing_columns_and_broken_files(tmp_path, simulated):
    frame = simulated()
    with pytest.raises(InputError, match="there twice"):
        predictions.validate(frame.iloc[[0, 0]])
    with pytest.raises(InputError, match="'fold' is missing"):
        predictions.validate(frame.drop(columns="fold"))
    path = tmp_path / "p.csv"
    with pytest.raises(InputError, match="does not exist"):
        predictions.read(path)
    path.write_text("")
    with pytest.raises(InputError, match="no readable CSV"):
        predictions.read(path)
    predictions.write(path, frame)
    path.write_text(path.read_text().replace(",test,", ",test,", 1).replace("\n000,000,0,", "\n000,000,zero,", 1))
    with pytest.raises(InputError, match="'repeat'"):
        predictions.read(path)


def test_a_file_without_recalibration_can_be_read(tmp_path, simulated):
    predictions.write(tmp_path / "p.csv", simulated())
    text = [line.rpartition(",")[0] for line in (tmp_path / "p.csv").read_text().splitlines()]
    (tmp_path / "p.csv").write_text("\n".join(text) + "\n")
    assert predictions.read(tmp_path / "p.csv")["recalibrated"].isna().all()
