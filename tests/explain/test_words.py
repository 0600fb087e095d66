"""Words of a report, their pieces, and where they look: on the scanner's own grid, at the place where the network looked."""

import csv
import dataclasses
import types

import jax
import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxstroke import config as settings
from jaxstroke.explain import patient as explained
from jaxstroke.explain import report, told, words
from jaxstroke.preprocess import inverse, patient, reference, wordpiece

TEXT = "Side: left-sided.\nSize: large, about 12.4 ml;\nsee Größe (2,5 cm).\nClinical impression: infarct, <1 % of left MCA."
OTHERS = ("large infarct about 12 ml", "the left side", "impression of size and größe", "cm and ml")
LENGTH = 128


def split(text: str) -> tuple[report.Word, ...]:
    return report.words(text, report.sections(text))


def test_words_are_those_of_the_text_by_section():
    found = split(TEXT)
    assert [word.text for word in found] == [
        *("Side", "left-sided", "Size", "large", "about", "12.4", "ml", "see", "Größe", "2,5", "cm"),
        *("Clinical", "impression", "infarct", "1", "of", "left", "MCA"),
    ]
    assert [TEXT[word.first : word.behind] for word in found] == [word.text for word in found]
    assert [word.section for word in found] == ["side"] * 2 + ["size"] * 9 + ["clinical impression"] * 7
    assert [word.text for word in found if word.header] == ["Side", "Size", "Clinical", "impression"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("no colon at all", [""]),
        ("Before.\nSide: left", ["", "side"]),
        ("\n  Side: left\nSide: right", ["side", "side"]),
        ("seen at 10:30: nothing", [""]),
        ("Much too long to be a name: nothing", [""]),
        ("Findings:\nnone", ["findings"]),
        ("", [""]),
    ],
)
def test_a_section_begins_with_its_name(text, names):
    found = report.sections(text)
    assert [part.name for part in found] == names
    assert "".join(text[part.first : part.behind] for part in found).strip() == text.strip()


@pytest.mark.parametrize("size", [48, 90, 300])
def test_pieces_are_joined_to_words_and_digits_to_numbers(size):
    tokenizer = wordpiece.fit([TEXT, *OTHERS, *OTHERS], size)
    found = split(TEXT)
    shares = report.joined(tokenizer, TEXT, found, LENGTH)
    tokens, mask = wordpiece.encode(tokenizer, [TEXT], LENGTH)
    pieces = np.array([piece.removeprefix("##") for piece in wordpiece.words(tokenizer, tokens[0], mask[0])])
    assert not shares[:, np.isin(pieces, ["[CLS]", "[SEP]", "[PAD]", ""])].any() and shares[:, pieces == ";"].sum() == 0
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    for word, row in zip(found, shares, strict=True):
        own = pieces[row > 0]
        assert "[UNK]" in own or "".join(own) == word.text.lower().replace("ö", "o")  # accents are stripped by BERT's normaliser
        np.testing.assert_allclose(row[row > 0], 1 / len(own), rtol=1e-6)
    assert (shares[[word.text for word in found].index("12.4")] > 0).sum() == 4


def test_a_word_that_is_cut_off_is_not_read():
    tokenizer, found = wordpiece.fit([TEXT, *OTHERS], 300), split(TEXT)
    read = report.joined(tokenizer, TEXT, found, 12).any(1)
    assert read[:2].all() and not read[-5:].any()


def said(text: str, tokenizers) -> report.Said:
    parts = report.sections(text)
    return report.Said(text, report.words(text, parts), parts, tuple(tokenizers), True, {})


def test_networks_of_different_vocabularies_are_averaged_by_word():
    """Two networks, each of whose tokens looks at a cell by the word it is of: their mean is the word's."""
    tokenizers = [wordpiece.fit([TEXT, *OTHERS], size) for size in (48, 300)]
    one = said(TEXT, tokenizers)
    cells = np.random.default_rng(0).dirichlet(np.ones(12), (2, len(one.words))).astype(np.float32)  # network word cell

    def attention(number, _, batch):
        shares = report.joined(tokenizers[number], TEXT, one.words, LENGTH)
        where = (shares > 0).T @ cells[number]  # every piece of a word looks where the word does
        return {"where": where.reshape(LENGTH, 2, 2, 3), "places": 16.0}  # 4 places are of another image

    config = types.SimpleNamespace(explain=types.SimpleNamespace(words=3))
    found = words.looks(config, attention, one, {}, [(0, None), (1, None)], (4, 8, 9), np.eye(4))
    np.testing.assert_allclose(found.values.reshape(len(one.words), 12), 16 * cells.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.share, 1, rtol=1e-5)
    assert (found.networks == 2).all() and list(found.chosen) == sorted(np.argsort(-cells.mean(0).max(1))[:3])


def test_repeated_words_have_titles_of_their_own():
    parts = split("Left. left MCA")
    found = words.of_values(parts, np.ones((3, 2, 2, 2)), np.ones(3), np.array([1, 1, 0]), 5, (2, 2, 2), np.eye(4))
    assert words.titles(found) == {0: "word: Left (number 1)", 1: "word: left (number 2)"}  # what is not read is not chosen


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """(record, stored image, its grid, affine, shape) of an oblique scan with anisotropic voxels."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    affine, shape = np.eye(4), (72, 60, 28)
    affine[:3, :3] = Rotation.from_euler("zx", (20, 10), degrees=True).as_matrix() @ np.diag((1.1, 1.4, 3.2))
    affine[:3, 3] = (-31.0, -54.0, 12.0)
    values = np.random.default_rng(0).integers(0, 1000, shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    size = {"spacing": (5.0, 3.0, 3.0), "shape": (16, 32, 32)}
    chosen = settings.image("ct", kind="volume", normalise="scale", window=(0.0, 1000.0), register=False, brain_mask="none", **size)
    record = patient.prepare_image(
        reference.Plan({"ct": chosen.to_dict()}, (), 0.3), reference.Job("1", "1", "", {"ct": (str(path),)}), "ct", {}
    )
    stored = (record["array"] * record["scale"] + record["offset"]).astype(np.float32)
    return record, stored.mean(-1), explained.grid_of(record), affine, shape


@pytest.mark.parametrize("cell", [(1, 3, 4), (2, 5, 2)])
def test_a_known_place_is_where_the_scanner_has_it(scan, tmp_path, cell):
    """A word that looks at one place of the network's grid: the file's maximum and the table's millimetres are that place's middle."""
    record, stored, grid, affine, shape = scan
    values = np.full((3, 4, 8, 8), 0.5)
    values[(1, *cell)] = 9.0
    found = words.of_values(split("alpha beta gamma"), values, np.ones(3), np.array([2, 2, 0]), 2, stored.shape, grid)
    titles, on_file = words.write(tmp_path, "ct", "title", found, record, stored, grid, 0.45)
    expected = (grid @ [*((np.array(cell) + 0.5) * 4 - 0.5), 1])[:3]  # every cell is of 4 stored voxels an axis
    written = nibabel.load(tmp_path / "ct_words.nii.gz")
    assert written.shape == (*shape, 2) and list(titles) == list(on_file) == ["word: alpha", "word: beta"]
    np.testing.assert_allclose(written.affine, affine, atol=1e-5)
    heat = written.get_fdata()[..., 1]
    places = np.argwhere(heat >= 0.98 * heat.max()) @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(places.mean(0), expected, atol=np.linalg.norm(affine[:3, :3], axis=0).max())
    with (tmp_path / "ct_words.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(rows[1][name]) for name in ("x_mm", "y_mm", "z_mm")] == pytest.approx(expected, abs=0.01)
    assert [row["volume"] for row in rows] == ["0", "1", ""] and rows[2]["share"] == "" and float(rows[1]["peak"]) == 9
    exact = inverse.to_source_grid(record, titles["word: beta"])
    np.testing.assert_allclose(heat, exact, atol=0.51 * titles["word: beta"].max() / 255)
    assert (tmp_path / "words_ct.png").stat().st_size > 5000 and not list(tmp_path.glob("*partial*"))


def test_an_evenly_looking_word_is_one_everywhere(scan):
    _, stored, grid, _, _ = scan
    found = words.of_values(split("alpha"), np.ones((1, 4, 8, 8)), np.ones(1), np.ones(1, int), 1, stored.shape, grid)
    np.testing.assert_allclose(words.enlarged(found, stored.shape), 1, rtol=1e-6)


@pytest.mark.parametrize(("most", "told_so"), [(1.4, True), (3.0, False)])
def test_the_page_says_where_all_words_look_everywhere_alike(trimodal_file, scan, most, told_so):
    _, stored, grid, _, _ = scan
    values = np.ones((3, 4, 8, 8))
    values[1, 0, 0, 0] = most
    line = {"provenance": {"generator": "given"}}
    one = dataclasses.replace(said("alpha beta gamma", [wordpiece.fit(["alpha beta gamma"], 48)]), line=line)
    found = words.of_values(one.words, values, np.ones(3), np.ones(3, int), 3, stored.shape, grid)
    notes = told.shown(trimodal_file.get_config("smoke"), one, {"flair": found})["notes"]
    assert notes == (["No word looks at a place more than 1.4 times as much as at an average one: these maps are nearly even."] * told_so)


def test_of_pictures_there_is_a_table_and_a_panel(tmp_path):
    """No grid, no NIfTI; words with letters that mathematics or the font stumble over."""
    values = np.zeros((2, 3, 4, 4))
    values[0, 2, 1, 3] = values[1, 0, 0, 0] = 5.0
    parts = [report.Word(text, "", 0, 1, False) for text in (r"$\foo$", "梗塞" * 40)]
    found = words.of_values(parts, values, np.full(2, 0.5), np.ones(2, int), 2, (3, 8, 8), None)
    pixels = np.random.default_rng(0).random((3, 8, 8)).astype(np.float32)
    titles, on_file = words.write(tmp_path, "views", r"patient $\frac", found, {}, pixels, None, 0.45)
    assert len(titles) == 2 and on_file == {} and {path.name for path in tmp_path.iterdir()} == {"views_words.csv", "words_views.png"}
    with (tmp_path / "views_words.csv").open() as file:
        first, second = csv.DictReader(file)
    assert [first[name] for name in ("picture", "row", "column", "x_mm")] == ["3.0", "3.5", "7.5", ""]
    assert second["picture"] == "1.0" and all(len(title) < 40 for title in titles)
    assert jax.tree.all(jax.tree.map(lambda heat: heat.shape == (3, 8, 8), titles))


def test_a_network_whose_words_look_nowhere_has_no_maps(trimodal_file):
    config = trimodal_file.get_config("smoke").unlock()
    assert words.wanted(config)
    for section, name, value in (("model", "joined", "concat"), ("text", "control", "shuffled"), ("explain", "words", 0)):
        kept, config[section][name] = config[section][name], value
        assert not words.wanted(config)
        config[section][name] = kept
    for seen in (("image", "clinical"), ("text", "clinical")):
        config.model.modalities = seen
        assert not words.wanted(config)
