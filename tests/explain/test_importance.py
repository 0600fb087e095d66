"""Which pictures decided: leave-one-out, alone and attention, on networks with random weights."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import models
from jaxstroke.benchmark import synthetic
from jaxstroke.config_json import copied
from jaxstroke.explain import importance, maps
from jaxstroke.models import heads, sequence
from jaxstroke.preprocess import inverse
from jaxstroke.training import step

MASK = np.array([[1, 1, 1, 1, 0, 0]], np.float32)  # four images, two of padding
HEAD, IMAGE = "diagnosis", "images"


def made(sequence_file, name: str, outcome: tuple = ("diagnosis", "==", 1)):
    """(network, variables, fitted numbers, a batch of one patient) with this sequence model."""
    config = copied(sequence_file.get_config("smoke"))
    with config.unlocked():
        config.model.sequence, config.cohort.outcomes.diagnosis = name, outcome
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 16, 16, 1)), jnp.float32)
    batch = {"images/images": images, "images_mask/images": jnp.asarray(MASK), "clinical": jnp.zeros((1, 0)), "weight": jnp.ones(1)}
    network = models.build(config)
    params = jax.jit(lambda: network.init(jax.random.key(0), batch, {}, train=False)["params"])()
    fitted = {"logit_shift/diagnosis": np.array([0.7], np.float32)}
    return network, {"params": params, "stats": {}}, fitted, batch


def outputs_of(network):
    """`(variables, fitted, batch) -> outputs` at the prevalence of the training patients."""
    return jax.jit(lambda variables, fitted, batch: step.shifted(step.evaluated(network, variables, fitted, batch), fitted))


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_it_is_what_the_network_says_without_an_image_and_of_it_alone(sequence_file, name):
    """Against a batch in which the others are really not there: taken out, not masked."""
    network, variables, fitted, batch = made(sequence_file, name)
    found, outputs = importance.measure(maps.Explained(network, {}), HEAD, IMAGE)(variables, fitted, batch), outputs_of(network)

    def of(places) -> float:
        places = list(places)
        shorter = {"images/images": batch["images/images"][:, places], "images_mask/images": jnp.ones((1, len(places)))}
        return float(outputs(variables, fitted, batch | shorter)["logits"][HEAD][0, 0])

    assert float(found["all"]) == pytest.approx(of(range(4)), abs=1e-5)
    for place in range(4):
        without = [other for other in range(4) if other != place]
        assert float(found["leave_one_out"][place]) == pytest.approx(of(range(4)) - of(without), abs=1e-5)
        assert float(found["alone"][place]) == pytest.approx(of([place]), abs=1e-5)
    assert np.abs(found["leave_one_out"][:4]).max() > 1e-4


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_padding_has_exactly_none_and_changes_none(sequence_file, name):
    network, variables, fitted, batch = made(sequence_file, name)
    measure = importance.measure(maps.Explained(network, {}), HEAD, IMAGE)
    plain = measure(variables, fitted, batch)
    double = batch["images/images"].at[:, 4:].set(batch["images/images"][:, :2])  # what lies there is one of the patient's images again
    longer = {"images/images": jnp.pad(double, ((0, 0), (0, 9), *[(0, 0)] * 3)), "images_mask/images": jnp.pad(MASK, ((0, 0), (0, 9)))}
    for changed in (batch | {"images/images": double}, batch | longer):
        found = measure(variables, fitted, changed)
        for key in ("leave_one_out", "alone"):
            assert not np.asarray(found[key])[4:].any()
            np.testing.assert_allclose(found[key][:4], plain[key][:4], atol=1e-6)
    empty = measure(variables, fitted, batch | {"images_mask/images": jnp.zeros((1, 6))})
    assert not np.asarray(empty["leave_one_out"]).any() and np.isfinite(empty["all"])


def test_of_a_mean_it_is_known_from_the_images_alone(sequence_file):
    """The log-odds are the mean of those of the images: without the i-th, (n mean - l_i) / (n - 1)."""
    network, variables, fitted, batch = made(sequence_file, "mean")
    found = importance.measure(maps.Explained(network, {}), HEAD, IMAGE)(variables, fitted, batch)
    alone = np.asarray(found["alone"])[:4]
    assert float(found["all"]) == pytest.approx(alone.mean(), abs=1e-5)
    np.testing.assert_allclose(found["leave_one_out"][:4], alone.mean() - (alone.sum() - alone) / 3, atol=1e-5)
    assert (np.sign(found["leave_one_out"][:4]) == np.sign(alone - alone.mean())).all()


def test_of_two_equal_images_neither_matters_to_a_maximum(sequence_file):
    """What the page warns of: each stands in for the other, and what they say alone tells of them."""
    network, variables, fitted, batch = made(sequence_file, "max")
    twice = batch["images/images"].at[:, 1].set(batch["images/images"][:, 0])
    found = importance.measure(maps.Explained(network, {}), HEAD, IMAGE)(variables, fitted, batch | {"images/images": twice})
    np.testing.assert_allclose(found["leave_one_out"][:2], 0, atol=1e-6)
    assert float(found["alone"][0]) == pytest.approx(float(found["alone"][1]), abs=1e-6)


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_attention_is_found_where_there_is_any(sequence_file, name):
    network, variables, fitted, batch = made(sequence_file, name)
    found = importance.attention(network, IMAGE)(variables, fitted, batch)
    if name != "attention":
        assert found is None
        return
    assert float(found.sum()) == pytest.approx(1, abs=1e-6) and not np.asarray(found)[4:].any() and (np.asarray(found)[:4] > 0).all()


def test_attention_is_that_of_the_image_wherever_it_lies():
    weights = {name: jnp.full((1, 3), value) for name, value in (("ct", 0.25), ("dwi", 0.5))}
    said = {name: {"inner": {"attention": (one,)}} for name, one in weights.items()}
    said["ct"]["inner"]["other"] = (jnp.ones((1, 3)),)
    said["dwi"]["tokens"] = {"attention": (jnp.ones((1, 4, 3, 3)),)}  # between the patches of an image
    assert importance.weights_of(said, "dwi", (1, 3)).tolist() == [0.5] * 3
    assert importance.weights_of(said["ct"], "ct", (1, 3)).tolist() == [0.25] * 3  # nothing below its name: all there is
    assert importance.weights_of(said, "dwi", (1, 4)) is None and importance.weights_of({}, "ct", (1, 3)) is None


def test_of_a_class_the_log_odds_are_against_the_rest(sequence_file):
    network, variables, fitted, batch = made(sequence_file, "lstm", ("diagnosis", "classes", ("a", "b", "c")))
    fitted = {"logit_shift/diagnosis": np.array([0.3, -0.1, 0.0], np.float32)}
    outputs = outputs_of(network)

    def against_rest(mask) -> np.ndarray:
        p = np.asarray(jax.nn.softmax(outputs(variables, fitted, batch | {"images_mask/images": jnp.asarray(mask)})["logits"][HEAD][0]))
        return np.log(p / (1 - p))

    without = MASK * (np.arange(6) != 2)
    for place, name in enumerate(("diagnosis-a", "diagnosis-b", "diagnosis-c")):
        found = importance.measure(maps.Explained(network, {name: (HEAD, place)}), name, IMAGE)(variables, fitted, batch)
        assert float(found["all"]) == pytest.approx(against_rest(MASK)[place], abs=1e-5)
        assert float(found["leave_one_out"][2]) == pytest.approx((against_rest(MASK) - against_rest(without))[place], abs=1e-5)


def test_patients_with_more_and_fewer_images_are_one_compilation(sequence_file):
    network, variables, fitted, batch = made(sequence_file, "lstm")
    measure = importance.measure(maps.Explained(network, {}), HEAD, IMAGE)
    for count in (1, 3, 6):
        measure(variables, fitted, batch | {"images_mask/images": jnp.asarray([[1.0] * count + [0.0] * (6 - count)])})
    assert measure._cache_size() == 1


def test_of_a_module_its_own_number_is_explained_and_of_a_merged_network_the_merge(config_file):
    config = config_file.get_config("smoke")
    network, head = models.build(config), config.evaluate.primary
    drawn = synthetic.draw_batch(config, (1, 1, 1), jax.random.key(1))
    batch = {name: np.array(x[0, 0]) for name, x in drawn.items() if name != "key"}
    k = batch["clinical"].shape[-1]
    fitted = {"clinical_median": np.full(k, 50.0), "clinical_mean": np.full(k, 50.0), "clinical_scale": np.full(k, 15.0)}
    for task, size in heads.sizes(config).items():
        fitted |= {f"prior/{task}": np.full(size, 0.3), f"logit_shift/{task}": np.full(size, 0.1)}
    fitted = jax.tree.map(lambda x: np.asarray(x, np.float32), fitted)
    params = jax.jit(lambda: network.init(jax.random.key(0), batch, fitted, train=False)["params"])()
    variables = {"params": params, "stats": {}}
    key, outputs = "images_mask/adc", outputs_of(network)
    without = batch | {key: batch[key] * (np.arange(batch[key].shape[1]) != 1)}
    whole, less = (outputs(variables, fitted, one) for one in (batch, without))
    for model, number in (
        (network, lambda outputs: float(outputs["parts"]["adc"]["logits"][head].sum())),
        (maps.Merged(network), lambda outputs: float(outputs["logits"][head].sum())),
    ):
        found = importance.measure(maps.Explained(model, {}), head, "adc")(variables, fitted, batch)
        assert float(found["all"]) == pytest.approx(number(whole), abs=1e-5)
        assert float(found["leave_one_out"][1]) == pytest.approx(number(whole) - number(less), abs=1e-5)


@pytest.mark.parametrize("name", sequence.SEQUENCES)
def test_pictures_are_taken_away_in_order_from_either_end(sequence_file, name):
    network, variables, fitted, batch = made(sequence_file, name)
    ranks = np.array([2, 0, 3, 1, 6, 6], np.int32)
    found = np.asarray(importance.removal(maps.Explained(network, {}), HEAD, IMAGE)(variables, fitted, batch, ranks))
    measured = importance.measure(maps.Explained(network, {}), HEAD, IMAGE)(variables, fitted, batch)
    outputs = outputs_of(network)

    def kept(*places) -> float:
        mask = np.isin(np.arange(6), places).astype(np.float32)[None]
        return float(outputs(variables, fitted, batch | {"images_mask/images": jnp.asarray(mask)})["logits"][HEAD][0, 0])

    np.testing.assert_allclose(found[0, :3], [kept(0, 2, 3), kept(0, 2), kept(2)], atol=1e-5)
    np.testing.assert_allclose(found[1, :3], [kept(0, 1, 3), kept(1, 3), kept(1)], atol=1e-5)
    assert found[0, 0] == pytest.approx(float(measured["all"] - measured["leave_one_out"][1]), abs=1e-5)
    assert found[0, 2] == pytest.approx(float(measured["alone"][2]), abs=1e-5)


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ([[[1.5, -1.0, -1.1], [1.9, 1.9, 1.0]]], (0, 2)),  # the first alone changes little, the first two much
        ([[[2.0, 1.9, 1.0], [3.2, 3.1, 2.5]]], (1, 1)),  # from the other end: one that lowers it
        ([[[1.95, 1.97, 2.0], [2.0, 2.02, 1.95]]], (0, 0)),  # too little to speak of
        ([[[1.5, 1.0, 0.0], [2.0, 2.0, 1.9]]], (0, 2)),
        ([[[1.8, 1.6, 0.0], [2.0, 2.0, 1.9]]], (0, 0)),  # it takes more than half of them
        ([[[0.0, 0.0, 0.0], [2.0] * 3], [[2.5, 0.0, 0.0], [2.0] * 3]], (0, 2)),  # the networks disagree on one, and not on two
        ([[[0.5], [1.9]]], (0, 1)),  # of two pictures
        (np.zeros((1, 2, 0)), (0, 0)),  # of one there are no others
    ],
)
def test_what_decides(without, expected):
    without = np.asarray(without, float)
    direction, count = importance.decisive(np.full(len(without), 2.0), without)
    assert count == expected[1] and (direction == expected[0] or not count)


def test_equal_images_decide_together(sequence_file):
    """Of a maximum: each of two equal ones is nothing by itself, both together are what the maximum is made of."""
    network, variables, fitted, batch = made(sequence_file, "max")
    images = 0.01 * batch["images/images"]
    strong = batch["images/images"][:, 0] * 3
    batch = batch | {"images/images": images.at[:, 1].set(strong).at[:, 3].set(strong)}
    model = maps.Explained(network, {})
    tools = types.SimpleNamespace(
        importance={(HEAD, IMAGE): importance.measure(model, HEAD, IMAGE)},
        removal={(HEAD, IMAGE): importance.removal(model, HEAD, IMAGE)},
        attention={IMAGE: importance.attention(network, IMAGE)},
    )
    paths = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    record = {"missing": False, "notes": [], "unread": [], "path_hash": inverse.path_hash(paths)}
    record |= {"transforms": [{"name": "slices", "index": [0, 1, 2, 3, -1, -1]}]}
    found = importance.explain(tools, IMAGE, HEAD, record, paths, batch, [(variables, fitted)])
    assert found.decides.tolist() == [False, True, False, True] and np.abs(found.mean).max() < 1e-5
    mask = jnp.asarray([[1.0, 0, 1, 0, 0, 0]])
    rest = outputs_of(network)(variables, fitted, batch | {"images_mask/images": mask})["logits"][HEAD][0, 0]
    assert float(found.rest[0]) == pytest.approx(float(rest), abs=1e-5) and abs(found.rest[0] - found.whole[0]) > importance.LEAST


def one(change, **other) -> importance.Importance:
    change = np.asarray(change, float)
    files, zeros = tuple(f"{n}.jpg" for n in range(change.shape[1])), np.zeros(len(change))
    fields = {"files": files, "whole": zeros, "rest": zeros, "alone": change, "decides": change[0] > 0, "attention": None}
    return importance.Importance(image="ct", head="poor", change=change, left_out=(), **(fields | other))


RECORD = {
    "missing": False, "notes": [[0, "3 of 5 pictures kept, evenly spaced"], [2, "left out: it shows the same as file 1 of 7"]],
    "unread": [[4, "the file is empty (0 bytes)"]], "transforms": [{"name": "letterbox"}, {"name": "slices", "index": [0, 3, 6, -1]}],
}  # fmt: skip


def test_every_file_is_a_picture_or_left_out_with_a_reason():
    paths = tuple(f"/home/Jane Doe/{name}.jpg" for name in "abcdefg")
    found = dict(importance.left_out(RECORD, paths))
    assert set(found) == {"b.jpg", "c.jpg", "e.jpg", "f.jpg"}
    assert found["c.jpg"] == "left out: it shows the same as a.jpg" and found["e.jpg"] == "the file is empty (0 bytes)"
    assert found["b.jpg"] == found["f.jpg"] == "one too many: of all pictures 3 evenly spaced ones are kept"
    missing = {"missing": True, "file": 1, "reason": "truncated", "unread": [[0, "black"]], "notes": [[2, "passed over: a list"]]}
    assert importance.left_out(missing, paths[:3]) == (("a.jpg", "black"), ("b.jpg", "truncated"), ("c.jpg", "passed over: a list"))


def test_a_file_of_which_parts_are_seen_says_of_the_others():
    """B-scans of the first, none of the second, one of the third; pictures are named by number where the file holds several."""
    kept = "B-scans kept, the central ones"
    notes = [[0, "B-scan 1 left out: zero everywhere"], [0, f"2 of 5 {kept}"], [1, f"0 of 3 {kept}"]]
    step = {"name": "slices", "index": [0, 0, 2, -1], "frames": [2, 3, -1, -1], "pick": "central"}
    paths = ("x/right.vol", "x/left.vol", "x/a.png", "x/b.png")
    record = {"missing": False, "notes": notes, "unread": [], "transforms": [step], "unit": "7", "path_hash": inverse.path_hash(paths)}
    assert importance.names(record, paths) == ("right.vol, B-scan 3", "right.vol, B-scan 4", "a.png")
    assert importance.left_out(record, paths) == (
        ("right.vol", notes[0][1]), ("right.vol", notes[1][1]), ("left.vol", notes[2][1]),
        ("b.png", "one too many: of all pictures the 3 central ones are kept"),
    )  # fmt: skip
    assert importance.names(record, paths[::-1]) == ("file 1, frame 3", "file 1, frame 4", "file 3")


def test_files_of_other_names_are_numbers(caplog):
    """Of an older record, or after files were renamed: nothing says that the names are those of the pictures."""
    record = RECORD | {"unit": "7", "path_hash": inverse.path_hash([f"a/{name}.jpg" for name in "abcdefg"])}
    assert importance.names(record, tuple(f"b/{name}.jpg" for name in "abcdefg")) == ("a.jpg", "d.jpg", "g.jpg")
    assert importance.names(record, tuple("abcdefg")) == ("file 1", "file 4", "file 7") and "other names" in caplog.text


def test_a_line_a_picture_and_a_line_what_was_left_out():
    found = importance.rows("7", "7/1", one([[0.2, -0.4], [0.4, -0.2]], attention=np.array([0.9, 0.1])))
    assert [line["leave_one_out"] for line in found] == pytest.approx([0.3, -0.3]) and [line["high"] for line in found] == [0.4, -0.2]
    assert [line["number"] for line in found] == [1, 2] and [line["attention"] for line in found] == [0.9, 0.1]
    assert all(tuple(line) == importance.COLUMNS for line in found)
