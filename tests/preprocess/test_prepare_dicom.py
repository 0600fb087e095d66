"""DICOM series through the preparation: notes in records and report, changed slices noticed, rules in the hash, points led back."""

import csv
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cohort"))

import slices_on_disk as made  # noqa: E402

from jaxstroke.cohort.dicom import Rules  # noqa: E402
from jaxstroke.preprocess import inverse, patient, records  # noqa: E402
from jaxstroke.preprocess.prepare import prepare  # noqa: E402
from jaxstroke.preprocess.reference import Job, Plan  # noqa: E402

UNEVEN = [0, 4, 8, 12, 13.1, 20.5, 27.9]


@pytest.fixture
def folders(tmp_path):
    """Series of a patient each: even, tilted and uneven, with a gap."""
    made.write_series(tmp_path / "even", made.stack(range(0, 28, 4)))
    made.write_series(tmp_path / "tilted", made.stack(UNEVEN, made.linear, made.tilted(18.5)))
    made.write_series(tmp_path / "gap", made.stack([0, 4, 8, 80]))
    return tmp_path


@pytest.fixture
def cohort(folders, kit):
    """Three patients and the config that prepares their CT."""
    units = [kit.unit(name, {"ct": (str(folders / name),)}) for name in ("even", "tilted", "gap")]
    settings = kit.settings(column="ct", brain_mask="none", register=False, spacing=(4.0, 2.0, 2.0), shape=(8, 16, 16))
    return kit.cohort(units), kit.config({"ct": settings}, max_failed_share=0.9)


def run(config, cohort, place):
    return prepare(config, cohort, place / "run", place / "records")


def test_remarks_stand_in_record_and_report_and_are_no_failures(folders, cohort):
    units, config = cohort
    for attempt in range(2):  # the second finds the records made
        prepared = run(config, units, folders)
        assert (prepared.volumes_per_second == 0) == bool(attempt)
        lines = list(csv.DictReader((folders / "run" / "prepare_report.csv").read_text().splitlines()))
        assert [(line["patient_id"], line["used"]) for line in lines] == [("gap", "no"), ("tilted", "yes"), ("tilted", "yes")]
        assert "config.cohort.dicom.gap" in lines[0]["reason"] and lines[1]["reason"] == "tilt of 18.5 degrees corrected"
        assert [failure[0] for failure in prepared.failures] == ["gap"] and {note[0] for note in prepared.notes} == {"tilted"}
    found = records.open_records(prepared.folders["ct"])
    assert found[found.index["tilted"]]["notes"][0] == [0, "tilt of 18.5 degrees corrected"]
    assert found[found.index["even"]]["notes"] == found[found.index["gap"]]["notes"] == []
    found.close()


def test_records_made_before_there_were_remarks_are_still_read(folders, cohort):
    units, config = cohort
    prepared = run(config, units, folders)
    path = pathlib.Path(prepared.folders["ct"]) / "manifest.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["shards"]:
        del entry["notes"]
    path.write_text(json.dumps(manifest))
    again = run(config, units, folders)
    assert again.volumes_per_second == 0 and again.notes == ()


def test_rules_decide_and_are_part_of_the_hash_where_there_are_series(folders, cohort, kit):
    units, config = cohort
    first = run(config, units, folders)
    config.cohort.dicom.tilt = "refuse"
    second = run(config, units, folders)
    assert second.digests["ct"] != first.digests["ct"] and {failure[0] for failure in second.failures} == {"gap", "tilted"}
    config.cohort.dicom.gap = 100.0
    assert {failure[0] for failure in run(config, units, folders).failures} == {"tilted"}
    nifti = kit.cohort([kit.unit("a", {"ct": (kit.save(folders / "a.nii.gz", kit.head(1)),)})])
    before = run(config, nifti, folders).digests
    config.cohort.dicom.tilt = "correct"
    assert run(config, nifti, folders).digests == before


def test_a_changed_slice_is_noticed(folders, cohort):
    units, config = cohort
    first = run(config, units, folders)
    other = made.stack(range(0, 32, 4))[-1]
    (folders / "even" / "later.dcm").write_bytes(made.content_of_dataset(other))
    second = run(config, units, folders)
    assert second.volumes_per_second > 0 and second.contents["ct"] != first.contents["ct"] and second.digests == first.digests
    shutil.rmtree(folders / "gap")
    made.write_series(folders / "gap", made.stack(range(0, 28, 4)))
    assert run(config, units, folders).failures == ()


def test_slices_of_a_list_and_times_of_change_are_in_the_fingerprint(folders):
    paths = sorted(str(path) for path in (folders / "even").iterdir())
    joined = "|".join(paths)
    assert len(set(patient.size_of(joined))) == 2 and patient.size_of("|".join(paths[1:])) != patient.size_of(joined)
    before = patient.size_of(str(folders / "even"))
    content = pathlib.Path(paths[0]).read_bytes()
    pathlib.Path(paths[0]).write_bytes(content[:-2])
    assert patient.size_of(str(folders / "even"))[0] != before[0]
    pathlib.Path(paths[0]).write_bytes(content)
    after = patient.size_of(str(folders / "even"))
    assert after[0] == before[0] and after[1] != before[1]
    assert patient.size_of(str(folders / "nothing")) == ("absent", "absent")


def test_a_point_of_a_tilted_series_is_stored_where_it_is_and_led_back(folders, kit):
    """The corrected grid is the source: stored -> voxel of the corrected image -> world is where the cube was scanned."""
    leaning = made.tilted(18.5, 25.0)
    centre = made.places(made.along_table(UNEVEN)[3], leaning)[10, 12]
    folder = made.write_series(folders / "cube", made.stack(UNEVEN, made.cube(centre, 4.1), leaning))
    settings = kit.settings(brain_mask="none", register=False, spacing=(4.0, 2.0, 2.0), shape=(10, 24, 24), normalise="none")
    record = patient.prepare_image(Plan({"ct": settings}, (), 0.3, Rules()), Job("p", "p", "", {"ct": (str(folder),)}), "ct", {})
    assert record["reason"] == "" and len(record["notes"]) == 2
    values = (record["array"] * record["scale"] + record["offset"])[..., 0]
    stored = np.argwhere(values > 500).mean(axis=0)
    voxel = inverse.stored_to_source(record, np.array([[np.rint(stored[0]), *stored[1:]]]))[0]
    world = record["affine"] @ [*voxel, 1]
    assert np.abs(world[:3] - centre).max() < 4  # a stored voxel is 4 x 2 x 2 mm
    assert inverse.to_source_grid(record, values).shape == tuple(record["shape"])
