import csv
import pathlib
import shutil
import time

import numpy as np
import pytest

from jaxstroke.errors import InputError
from jaxstroke.preprocess.prepare import load_arrays, load_table, prepare


def run(config, cohort, place, **more):
    return prepare(config, cohort, place / "run", place / "records", **more)


def test_arrays_and_table_in_the_order_asked_for(tmp_path, small_cohort):
    cohort, config = small_cohort
    prepared = run(config, cohort, tmp_path)
    assert prepared.failures == () and prepared.left_out == () and prepared.volumes_per_second > 0
    order = ["007", "010", "003"]
    array, mask, scale, offset, volume_ml = load_arrays(prepared, "adc", order)
    assert array.shape == (3, 5, 16, 16, 1) and array.dtype == np.int16 and mask.shape == (3, 5)
    assert mask[0].sum() >= 3 and array[0].max() > 0 and np.isnan(volume_ml).all()
    assert mask[1].sum() == 0 and array[1].max() == 0 and scale[1] == 1 and offset[1] == 0  # no ADC
    table = load_table(prepared, order)
    assert table.values[:, 0].tolist() == [57, 60, 0] and table.mask[:, 0].tolist() == [1, 1, 0]
    assert table.labels["poor"].tolist() == [1, 1, 1] and prepared.schema.columns == ("age", "sex=F", "sex=other")
    with pytest.raises(InputError, match="'nobody' is not in the records"):
        load_arrays(prepared, "dwi", ["nobody"])


def test_cached_records_are_found_and_shared(tmp_path, small_cohort):
    cohort, config = small_cohort
    first = run(config, cohort, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "records").rglob("*.array_record")}
    again = prepare(config, cohort, tmp_path / "other", tmp_path / "records", images=("adc",))
    assert again.volumes_per_second == 0 and again.folders["adc"] == first.folders["adc"] and list(again.folders) == ["adc"]
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "records").rglob("*.array_record")}
    assert (tmp_path / "other" / "prepare_report.csv").exists()


def test_hash_follows_what_decides_the_content(tmp_path, small_cohort, kit):
    cohort, config = small_cohort
    first = run(config, cohort, tmp_path)
    config.images.dwi.shape = (4, 16, 16)
    second = run(config, cohort, tmp_path)
    assert second.folders["dwi"] != first.folders["dwi"] and second.folders["adc"] == first.folders["adc"]
    config.images.dwi.brain_mask = "none"  # the reference's head places the ADC too
    assert run(config, cohort, tmp_path).folders["adc"] != first.folders["adc"]
    other = kit.cohort(cohort.units, digest="e" * 64)
    assert run(config, other, tmp_path).folders["dwi"] != second.folders["dwi"]


def break_file(cohort, number, image="dwi"):
    path = pathlib.Path(cohort.units[number].paths[image][0])
    path.write_bytes(path.read_bytes()[:500])
    return str(path)


def test_failed_file_is_listed_and_the_run_goes_on(tmp_path, small_cohort):
    cohort, config = small_cohort
    path = break_file(cohort, 5)
    for attempt in range(2):  # the second finds the records made
        prepared = run(config, cohort, tmp_path)
        assert [f[:3] for f in prepared.failures] == [("005", "dwi", path)] and prepared.left_out == ()
        rows = list(csv.DictReader((tmp_path / "run" / "prepare_report.csv").read_text().splitlines()))
        assert [(r["patient_id"], r["image"], r["path"]) for r in rows] == [("005", "dwi", path)] and rows[0]["reason"]
        assert (prepared.volumes_per_second == 0) == bool(attempt)
    assert load_arrays(prepared, "dwi", ["005"])[1].sum() == 0
    assert load_arrays(prepared, "adc", ["005"])[1].sum() > 0  # on its own grid


def test_unit_without_any_usable_image_is_left_out(tmp_path, small_cohort):
    cohort, config = small_cohort
    break_file(cohort, 0)  # it has no ADC
    cohort.units[10].paths["dwi"] = ()  # lists nothing at all: a clinical row, kept
    assert run(config, cohort, tmp_path).left_out == ("000",)


def test_too_many_failures_stop_after_the_report(tmp_path, small_cohort):
    cohort, config = small_cohort
    for number in range(3):
        break_file(cohort, number)
    with pytest.raises(InputError, match="3 of 20 patients have a file that cannot be used.*patient 000, image 'dwi'"):
        run(config, cohort, tmp_path)
    assert len((tmp_path / "run" / "prepare_report.csv").read_text().splitlines()) == 4


def test_mended_file_is_prepared_again_and_only_its_shard(tmp_path, small_cohort, kit):
    cohort, config = small_cohort
    path = break_file(cohort, 5)
    broken = run(config, cohort, tmp_path)
    times = {p.name: p.stat().st_mtime_ns for p in pathlib.Path(broken.folders["dwi"]).glob("*.array_record")}
    time.sleep(0.01)
    kit.save(path, kit.head(5))
    mended = run(config, cohort, tmp_path)
    after = {p.name: p.stat().st_mtime_ns for p in pathlib.Path(mended.folders["dwi"]).glob("*.array_record")}
    assert mended.failures == () and mended.contents["dwi"] != broken.contents["dwi"] and mended.digests == broken.digests
    assert [name for name in times if times[name] != after[name]] == [sorted(times)[0]]
    assert load_arrays(mended, "dwi", ["005"])[1].sum() > 0


def test_mended_reference_moves_the_images_that_lie_on_its_grid(tmp_path, small_cohort, kit):
    cohort, config = small_cohort
    moved = kit.affine.copy()
    moved[1, 3] += 4.0  # so that the two heads have different centres
    kit.save(cohort.units[5].paths["adc"][0], kit.head(105) * 1e-5, moved)
    whole = run(config, cohort, tmp_path / "whole")
    path = break_file(cohort, 5)
    broken = run(config, cohort, tmp_path)
    assert broken.contents["adc"] != whole.contents["adc"]  # on its own grid, for want of the DWI's
    kit.save(path, kit.head(5))
    assert run(config, cohort, tmp_path).contents == whole.contents


@pytest.mark.parametrize("harm", ["digest", "cut shard", "shard gone", "another cohort's"])
def test_changed_records_are_refused_by_name(tmp_path, small_cohort, kit, harm):
    cohort, config = small_cohort
    prepared = run(config, cohort, tmp_path)
    folder = pathlib.Path(prepared.folders["dwi"])
    shard = sorted(folder.glob("*.array_record"))[1]
    if harm == "digest":
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace(prepared.digests["dwi"], "0" * 64))
    elif harm == "cut shard":
        shard.write_bytes(shard.read_bytes()[:-10])
    elif harm == "shard gone":
        shard.unlink()
    else:
        other = run(config, kit.cohort(cohort.units[:9], digest="e" * 64), tmp_path)
        shutil.rmtree(folder)
        shutil.copytree(other.folders["dwi"], folder)
    with pytest.raises(InputError, match=f"{folder}.*delete the folder"):
        run(config, cohort, tmp_path)


def test_settings_are_checked_before_files_are_read(tmp_path, small_cohort):
    cohort, config = small_cohort
    config.images.dwi.kind = "series"
    with pytest.raises(InputError, match=r"images.dwi.kind = 'series'"):
        run(config, cohort, tmp_path)
    config.images.dwi.kind, config.images.adc.window = "sequence", (3.0, 1.0)
    with pytest.raises(InputError, match=r"images.adc.window .* must be the larger"):
        run(config, cohort, tmp_path)
    config.images.adc.window, config.cohort.reference = (0.0, 3e-3), "dvi"
    with pytest.raises(InputError, match="image 'dvi' is not in config.images. Did you mean 'dwi'"):
        run(config, cohort, tmp_path)


def test_schema_of_a_trained_workdir_is_kept(tmp_path, small_cohort, kit):
    cohort, config = small_cohort
    first = run(config, cohort, tmp_path)
    new = kit.cohort([kit.unit("n1", {"dwi": (), "adc": ()}, sex="X")], digest="f" * 64)
    later = run(config, new, tmp_path / "external", schema=first.schema)
    assert later.schema == first.schema and load_table(later, ["n1"]).values.tolist() == [[60, 0, 1]]


def test_real_lesions_keep_their_volume(tmp_path, data_root, kit):
    files = sorted((data_root / "soop" / "lesions").glob("*.nii.gz"))[:6]
    cohort = kit.cohort([kit.unit(path.name, {"lesion": (str(path),)}) for path in files])
    grid = {"shape": (16, 48, 48), "spacing": (8.5, 4.0, 4.0), "register": False}
    settings = kit.settings(column="lesion", normalise="mask", brain_mask="none", dtype="uint8", **grid)
    prepared = run(kit.config({"lesion": settings}), cohort, tmp_path)
    array, mask, scale, offset, volume_ml = load_arrays(prepared, "lesion", cohort.units)
    stored = array.sum(axis=(1, 2, 3, 4)) * scale * 8.5 * 16 / 1000
    np.testing.assert_allclose(stored, volume_ml, rtol=0.02, atol=0.01)
    assert mask.all() and (volume_ml > 0).all()
