"""Whole runs of paper 5 that begin from a BERT by Hugging Face's names: it learns, it is frozen, or its features are computed once."""

import json
import pathlib
import shutil
import sys

import jax
import numpy as np
import pytest
from etils import epath

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import reports_cohort as tiny  # noqa: E402

from jaxstroke import workdir as work  # noqa: E402
from jaxstroke.interop import torch_bert, torch_file  # noqa: E402
from jaxstroke.models import modalities  # noqa: E402
from jaxstroke.preprocess import wordpiece  # noqa: E402
from jaxstroke.training import modes, precomputed  # noqa: E402

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("signals_kept")

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,;:%()-<"
ENTRIES = [*wordpiece.SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS[:36]), "hemisphere", "left", "right", "lesion", "ml"]
HIDDEN, LAYERS, HEADS, INSIDE, PLACES = 12, 1, 3, 20, 80
OF_BERT = (
    f"--config.text.width={HIDDEN}", f"--config.text.depth={LAYERS}", f"--config.text.heads={HEADS}",
    f"--config.text.intermediate={INSIDE}", f"--config.text.positions={PLACES}", f"--config.text.vocabulary_size={len(ENTRIES)}",
)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The cohort with a tiny BERT beside it, of random weights as `transformers` saves them."""
    table = tiny.write(tmp_path_factory.mktemp("cohort"))
    config = transformers.BertConfig(
        vocab_size=len(ENTRIES), hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=INSIDE,
        max_position_embeddings=PLACES,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(table.parent / "bert")
    (table.parent / "bert" / "vocab.txt").write_text("\n".join(ENTRIES) + "\n")
    return table


def begun(table, workdir, *more, sizes=OF_BERT) -> int:
    """Train from a copy of the BERT in a folder of its own, which is gone afterwards."""
    bert = workdir.parent / f"{workdir.name}-bert"
    shutil.copytree(table.parent / "bert", bert)
    given = (f"--config.text.init_from={bert / 'model.safetensors'}", f"--config.text.vocabulary={bert / 'vocab.txt'}")
    try:
        return tiny.run(table, workdir, *given, *sizes, *more)
    finally:
        shutil.rmtree(bert)


def weights(table) -> dict:
    """Of the file, as our encoder has them."""
    variables, _, _ = torch_bert.convert(torch_file.read(epath.Path(table.parent / "bert" / "model.safetensors")), HEADS)
    return variables["params"]


@pytest.fixture(scope="module")
def learned(table):
    assert begun(table, table.parent / "learned") == 0
    return table.parent / "learned"


@pytest.fixture(scope="module")
def frozen(table):
    assert begun(table, table.parent / "frozen", "--config.optimizer.text_rate=0.0") == 0
    return table.parent / "frozen"


@pytest.fixture(scope="module")
def computed(table):
    assert begun(table, table.parent / "computed", "--config.text.precomputed=True") == 0
    return table.parent / "computed"


def bert_of(network: dict) -> dict:
    return network["params"]["text"]["bert"]


@pytest.mark.slow
def test_its_weights_are_where_it_began(learned, table):
    """A rate of 1e-3 and four updates move each by no more than a few thousandths; each moves, whose gradient is not 0."""
    said = json.loads((learned / "run.json").read_text())["init_from"]
    assert said["part"] == "bert" and "pooler.dense.weight" in said["left_out"]
    for network in tiny.networks(learned).values():
        apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), bert_of(network), weights(table))
        assert max(jax.tree.leaves(apart)) < 0.02 and apart["embedding"] > 0 and apart["layer1"]["up"]["kernel"] > 0


@pytest.mark.slow
def test_frozen_it_is_the_files_to_the_last_bit(frozen, table):
    for network in tiny.networks(frozen).values():
        tiny.equal(bert_of(network), weights(table))


@pytest.mark.slow
def test_frozen_it_has_no_moments(frozen, table):
    config = work.trained_config(epath.Path(frozen))
    state = modes.make_ready(config, epath.Path(frozen)).engine.abstract_state()
    names = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(state["opt"])[0]}
    assert any("text_project" in name for name in names) and not any("bert" in name for name in names)


@pytest.mark.slow
def test_computed_once_they_are_what_the_frozen_encoder_makes(frozen, computed):
    """Features of every report; and the same parameters elsewhere, so the runs differ by float16's digits alone."""
    configs = [work.trained_config(epath.Path(workdir)) for workdir in (frozen, computed)]
    whole, once = (modes.make_ready(config, epath.Path(workdir)) for config, workdir in zip(configs, (frozen, computed), strict=True))
    run = whole.todo[0]
    tokens = whole.numbers[run.id]
    bert = modalities.make_bert(configs[0], np.float32)(name=None)
    variables = {"params": bert_of(tiny.networks(frozen)[run.id])}
    wanted = bert.apply(variables, tokens["tokens"], tokens["tokens_mask"])
    found = once.loaded.arrays[modalities.PRECOMPUTED]
    assert found.dtype == np.float16 and np.abs(wanted).max() > 0.5
    np.testing.assert_allclose(found.astype(np.float32), wanted, rtol=0, atol=2e-3)
    np.testing.assert_array_equal(once.loaded.arrays[f"{modalities.PRECOMPUTED}_mask"], tokens["tokens_mask"])
    assert "tokens" not in once.numbers[run.id]


@pytest.mark.slow
def test_a_network_of_computed_features_says_what_the_frozen_one_says(frozen, computed):
    """Its parameters in place of the frozen one's own: the same logits."""
    whole, once = (modes.make_ready(work.trained_config(epath.Path(each)), epath.Path(each)) for each in (frozen, computed))
    run, theirs = whole.todo[0], tiny.networks(frozen)[whole.todo[0].id]
    rows = np.arange(tiny.PATIENTS, dtype=np.int32)
    wanted = whole.engine.predict(theirs, whole.numbers[run.id], rows)["logits"]["poor"]
    without = theirs | {"params": {name: value for name, value in theirs["params"].items() if name != "text"}}
    found = once.engine.predict(without, once.numbers[run.id], rows)["logits"]["poor"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
    assert np.ptp(wanted) > 0.01


@pytest.mark.parametrize("kind", [pytest.param("learned", marks=pytest.mark.slow), "computed"])
def test_the_workdir_is_enough(request, kind, table, tmp_path):
    """The file of the weights and its vocabulary are gone."""
    workdir = request.getfixturevalue(kind)
    config = json.loads((workdir / "run.json").read_text())["config"]["text"]
    assert not pathlib.Path(config["init_from"]).exists() and not pathlib.Path(config["vocabulary"]).exists()
    before = (workdir / "predictions.csv").read_bytes()
    assert tiny.again(workdir, "evaluate") == 0 and (workdir / "predictions.csv").read_bytes() == before
    new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.drop(columns="mrs"))
    assert tiny.again(workdir, "predict", f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") == 0
    again = tiny.predictions(tmp_path / "out.csv").set_index("unit_id")["probability"].astype(float)
    old = tiny.predictions(workdir / "predictions.csv")
    twice = old.groupby("unit_id").filter(lambda rows: rows["fold"].nunique() == 2)
    means = twice.groupby("unit_id")["probability"].mean()
    assert len(means) > 0  # in the validation part of the fold that does not test them
    np.testing.assert_allclose(again[means.index], means, rtol=0, atol=1e-5)


def test_an_encoder_that_is_gone_or_damaged_is_told(computed, tmp_path, capsys, table):
    workdir = tmp_path / "run"
    shutil.copytree(computed, workdir)
    more, path = f"--config.cohort.records={table.parent / 'records'}", workdir / precomputed.FILE
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (b"", b"PK half", content[:middle], flipped):
        path.write_bytes(damaged)
        assert "text_encoder.npz is damaged" in tiny.refused(capsys, tiny.again(workdir, "evaluate", more))
    path.unlink()
    assert "text_encoder.npz is gone" in tiny.refused(capsys, tiny.again(workdir, "evaluate", more))


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_another_vocabulary_in_the_workdir_is_refused(computed, tmp_path, capsys, table, mode):
    workdir = tmp_path / "run"
    shutil.copytree(computed, workdir)
    path = workdir / "vocabulary.json"
    new_table = tiny.changed(table, tmp_path / "new.csv", lambda frame: frame.drop(columns="mrs").head(2))
    more = (f"--cohort={new_table}", f"--output={tmp_path / 'out.csv'}") if mode == "predict" else ()
    content = path.read_bytes()
    for damaged in (content.replace(b'"left"', b'"lept"'), content[:100], b"\xff" + content):
        path.write_bytes(damaged)
        said = tiny.refused(capsys, tiny.again(workdir, mode, f"--config.cohort.records={table.parent / 'records'}", *more))
        assert f"{path} is not what {workdir} was begun with" in said


def test_other_sizes_are_named_by_their_flags(table, tmp_path, capsys):
    """Those that the message lists are enough."""
    said = tiny.refused(capsys, begun(table, tmp_path / "run", sizes=(f"--config.text.vocabulary_size={len(ENTRIES) + 5}",)))
    flags = [word for word in said.split() if word.startswith("--config.text.")]
    assert set(flags) == set(OF_BERT) - {"--config.text.depth=1"} and "is of a network of other sizes" in said  # which it has
    config = work.trained_config(epath.Path(tmp_path / "run"))
    assert config is None  # nothing was begun


def test_a_vocabulary_of_more_entries_is_refused(table, tmp_path, capsys):
    sizes = tuple(flag for flag in OF_BERT if "vocabulary_size" not in flag) + ("--config.text.vocabulary_size=50",)
    given = f"--config.text.vocabulary={table.parent / 'bert' / 'vocab.txt'}"
    said = tiny.refused(capsys, tiny.run(table, tmp_path / "run", given, *sizes))
    assert "has more entries than the network" in said and f"config.text.vocabulary_size={len(ENTRIES)}" in said


def test_weights_that_are_not_there_are_refused(table, tmp_path, capsys):
    more = (f"--config.text.init_from={tmp_path / 'none.safetensors'}", f"--config.text.vocabulary={table.parent / 'bert' / 'vocab.txt'}")
    assert "there is no such file" in tiny.refused(capsys, tiny.run(table, tmp_path / "run", *more, *OF_BERT))
