"""Paper 3's network and config: published size, codes of its tasks, who counts in a norm, devices through the real step, refusals."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstroke import check, check_network, config_json, main, models
from jaxstroke.cohort import labels
from jaxstroke.errors import InputError
from jaxstroke.models import encoders, heads, ich_multitask
from jaxstroke.models.encoders import densenet
from jaxstroke.preprocess import clinical
from jaxstroke.training import engine as engines
from jaxstroke.training import losses, runs, step

PATIENTS, SHAPE = 37, (8, 10, 9)
VARIANTS = (
    "ordgcs_age", "paper", "gcs_age", "age", "gcs", "ordgcs", "densenet", "baseline", "tabular", "gcs_only", "age_only", "own", "demo",
    "adrenal", "soop",
    "smoke",
)  # fmt: skip
ENCODER = "tiny_3d"


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A small DenseNet under a name of its own; masked batch normalisation and dropout are what spread over devices."""

    def build(parts):
        return densenet.DenseNet(4, (1, 1), 8, 2, parts.dropout, parts.conv, parts.norm, parts.remat, parts.dtype)

    takes = check_network.Takes("Tiny", 3, 8)
    monkeypatch.setitem(encoders.ENCODERS, ENCODER, encoders.Encoder(takes, build))
    monkeypatch.setitem(check_network.ENCODER_INPUTS, ENCODER, takes)


@pytest.fixture
def config(ich_file):
    config = ich_file.get_config("smoke")
    with config.unlocked():
        config.model.encoder = ENCODER
        config.images.ct.shape = SHAPE
        config.train.batch_size, config.train.accumulation = 8, 2
        config.train.imbalance = "none"  # 21 rows an epoch, not as many as oversampling makes
        config.device.data = 1
        config.train.epochs = 3
    return config


@pytest.fixture(scope="module")
def arrays():
    """Volumes with signal, every fifth patient without one."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, PATIENTS).astype(np.float32)
    volume = rng.integers(-200, 200, (PATIENTS, *SHAPE, 1)) + (150 * label).astype(int)[:, None, None, None, None]
    mask = np.ones(PATIENTS, np.float32)
    mask[::5] = 0
    found = {"patient": np.arange(PATIENTS, dtype=np.int32), "images/ct": volume.astype(np.int16), "images_mask/ct": mask}
    found |= {"scale/ct": np.full(PATIENTS, 0.01, np.float32), "offset/ct": np.zeros(PATIENTS, np.float32)}
    found |= {"clinical": rng.normal(size=(PATIENTS, 2)).astype(np.float32), "clinical_mask": np.ones((PATIENTS, 2), np.float32)}
    for task, values in (("prognosis", label), ("gcs", 2 * label), ("age", 1 - label)):
        found |= {f"label/{task}": values.astype(np.float32), f"label_mask/{task}": np.ones(PATIENTS, np.float32)}
    return found


RUN = runs.Run(0, 0, None, 0, *(np.arange(a, b, dtype=np.int32) for a, b in ((0, 21), (21, 29), (29, 37))))


def steps(config, arrays, count=3):
    """State and summed terms after some real updates: 21 rows in updates of 16, so that shards run out of rows."""
    schema = clinical.Schema(("age", "nihss"), ())
    fitted = runs.fitted(RUN, schema, arrays, config)
    engine = engines.build(config, arrays, fitted)
    state, fitted = (step.put(jax.tree.map(lambda x: np.asarray(x)[None], tree), engine.mesh) for tree in (engine.initial(5), fitted))
    table = runs.epoch_rows(RUN, 0, arrays, config).reshape(-1, 1, config.train.accumulation, config.train.batch_size)
    sums = []
    for number in range(count):
        seeds, numbers = np.full(1, 5, np.int32), np.full((1, 1), number, np.int32)
        batch = next(engine.feed.batches(table[number % len(table)][None], seeds, numbers, train=True))
        state, terms = engine.train_step(state, fitted, batch)
        sums.append(jax.device_get(terms))
    return jax.device_get(state), sums


@pytest.mark.slow
def test_devices_do_not_change_the_result(config, arrays):
    with config.unlocked():
        config.optimizer.name, config.optimizer.learning_rate = "sgd", 0.05  # Adam would hide a factor, and blow up rounding
    one = steps(config, arrays, count=2)  # one whole update and one padded: a third would amplify rounding, with devices or without
    with config.unlocked():
        config.device.data = 8
    eight = steps(config, arrays, count=2)
    assert set(one[1][0]) == {"network/prognosis", "network/gcs", "network/age"}
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_training_lowers_the_loss_and_moves_running_statistics(config, arrays):
    with config.unlocked():
        config.optimizer.learning_rate = 1e-2
    state, sums = steps(config, arrays, count=20)
    loss = [float((one["network/prognosis"][0] / one["network/prognosis"][1])[0]) for one in sums]
    assert np.mean(loss[-4:]) < 0.8 * np.mean(loss[:4])
    assert float(np.abs(state["stats"]["encoder"]["norm0"]["mean"]).max()) > 0


def test_who_has_no_volume_or_is_padding_moves_no_statistics():
    module = small_network()
    batch = {"images/ct": jax.random.normal(jax.random.key(0), (4, *SHAPE, 1)), "images_mask/ct": jnp.array([1.0, 0, 1, 1])}
    batch |= {"weight": jnp.array([1.0, 1, 0, 1]), "key": jax.random.split(jax.random.key(1), 4)}
    variables = module.init(jax.random.key(2), batch, {})

    @jax.jit
    def statistics(batch):
        return module.apply(variables, batch, {}, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    found = statistics(batch)
    jax.tree.map(np.testing.assert_array_equal, found, statistics(batch | {"images/ct": batch["images/ct"].at[jnp.array([1, 2])].mul(9)}))
    other = statistics(batch | {"images/ct": batch["images/ct"].at[0].mul(9)})
    assert float(jnp.abs(other["encoder"]["norm0"]["mean"] - found["encoder"]["norm0"]["mean"]).max()) > 0
    apply = jax.jit(lambda batch: module.apply(variables, batch, {}))  # evaluation reads neither key nor weight
    found = apply({name: batch[name] for name in ("images/ct", "images_mask/ct")})
    assert found["parts"] == {} and {name: value.shape for name, value in found["logits"].items()} == {"poor": (4, 1), "gcs": (4, 2)}
    assert found["logits"]["poor"].dtype == found["features"]["pooled"].dtype == jnp.float32


def small_network() -> ich_multitask.MultiTask:
    encoder = encoders.make(ENCODER, jnp.dtype("bfloat16"), axis=None)
    return ich_multitask.MultiTask("ct", encoder, {"poor": 1, "gcs": 2})


def test_a_volume_is_there_when_any_of_its_slices_is():
    np.testing.assert_array_equal(ich_multitask.present(jnp.array([1.0, 0.0])), [1, 0])
    np.testing.assert_array_equal(ich_multitask.present(jnp.array([[1.0, 1, 0], [0, 0, 0]])), [1, 0])


def variables_of(config) -> tuple[dict, dict]:
    """Variables and outputs of a config's network at the paper's size, by shape alone."""
    size = tuple(config.images.ct.shape)
    batch = {"images/ct": jax.ShapeDtypeStruct((2, *size, 1), jnp.float32), "images_mask/ct": jax.ShapeDtypeStruct((2,), jnp.float32)}
    module = models.build(config)
    variables = jax.eval_shape(lambda batch: module.init(jax.random.key(0), batch, {}), batch)
    return variables, jax.eval_shape(lambda variables, batch: module.apply(variables, batch, {}), variables, batch)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_published_parameters_and_tasks(ich_file):
    """Backbone 11,242,624, and 1025 a logit: 1 of prognosis, 2 of the coma scale, 1 of age (papers' section 3.5)."""
    config = ich_file.get_config("paper")
    assert tuple(config.images.ct.shape) == (40, 301, 301) and models.build(config).tasks == {"prognosis": 1, "gcs": 2, "age": 1}
    variables, outputs = variables_of(config)
    assert count(variables["params"]) == 11_246_724 and count(variables["params"]["encoder"]) == 11_242_624
    features = outputs["features"]
    assert features["pooled"].shape == (2, 1024) and (2, 1, 9, 9, 1024) in {leaf.shape for leaf in features.values()}
    weights = {task: config.loss[task].weight for task in config.loss}
    assert weights == {"prognosis": 0.4, "gcs": 0.3, "age": 0.3}


@pytest.mark.parametrize(("variant", "parameters"), [("gcs_age", 11_245_699), ("densenet", 11_243_649), ("baseline", 291_217)])
def test_published_parameters_of_other_networks(ich_file, variant, parameters):
    """And the baseline's maps, which are those of the paper (papers' section 3.5)."""
    variables, outputs = variables_of(ich_file.get_config(variant))
    assert count(variables["params"]) == parameters
    if variant == "baseline":
        maps = [outputs["features"][f"stage{number}"].shape[1:4] for number in (1, 2, 3, 4)]
        assert maps == [(19, 149, 149), (8, 73, 73), (3, 35, 35), (1, 33, 33)]


def test_heads_of_the_baseline_begin_as_xaviers(ich_file):
    initial = {variant: models.build(ich_file.get_config(variant)).initial for variant in ("baseline", "densenet")}
    assert initial == {"baseline": "xavier", "densenet": "pytorch"}
    params = heads.Heads({"poor": 1}, "xavier").init(jax.random.key(0), jnp.zeros((1, 128)))["params"]["poor"]
    bound = (6 / 129) ** 0.5
    assert 0.9 * bound < np.abs(params["kernel"]).max() <= bound and not params["bias"].any()


def test_heads_begin_as_pytorchs():
    head = heads.Heads({"poor": 1, "gcs": 2}, "pytorch")
    params = head.init(jax.random.key(0), jnp.zeros((1, 1024)))["params"]
    kernels = np.concatenate([params[task]["kernel"].ravel() for task in params])
    assert np.abs(kernels).max() <= 1 / 32 and abs(kernels.std() * 32 - 3**-0.5) < 0.02
    biases = np.concatenate([params[task]["bias"] for task in params])
    assert np.abs(biases).max() <= 1 / 32 and np.abs(biases).min() > 0


def test_coma_scale_is_coded_as_in_the_paper(ich_file):
    """2 for 8 and less, 1 for 9 to 12, 0 for 13 and more; as cumulative targets 00, 10, 11, the mean of two binary losses."""
    _, rule, cuts = ich_file.get_config("paper").cohort.outcomes.gcs
    scale = np.arange(3, 16)
    paper = np.select([scale <= 8, scale <= 12], [2, 1], 0)
    ours = np.array([labels.label(float(value), rule, cuts) for value in scale])
    np.testing.assert_array_equal(ours, paper)
    logits = jax.random.normal(jax.random.key(0), (len(scale), 2))
    found, _ = losses.ordinal(logits, jnp.asarray(ours), jnp.ones(2))
    targets = np.stack([paper >= 1, paper >= 2], 1)
    expected = np.where(targets, np.logaddexp(0, -logits), np.logaddexp(0, logits)).mean(1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_locked_valid_and_survives_json(ich_file, variant):
    config = ich_file.get_config(variant)
    assert config.is_locked
    check.check(config)
    values = config_json.to_json(config)
    again = config_json.from_json(values)
    assert config_json.differences(values, config_json.to_json(again)) == [] and again.images == config.images
    with pytest.raises(ValueError, match="smoke"):
        ich_file.get_config("smok")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("images.ct.shape", (8, 96, 96), r"config.images.ct.shape = \(8, 96, 96\): DenseNet121-3D needs at least 32 per axis"),
        ("images.ct.kind", "sequence", "one image of kind 'volume'"),
        ("model.encoder", "resnet18_2d", "config.images.ct.kind = 'volume' has 3 axes: ResNet18-2D takes 2"),
        ("model.encoder", "vit_s_3d", "config.images.ct.shape.*ViT-S/16-3D needs a multiple of 16"),
        ("model.encoder", "densenet", "config.model.encoder.*densenet121_3d"),
        ("model.encoder", "", "config.model.encoder = '' is unknown"),
        ("model.norm", "layer", "config.model.norm = 'layer' is unknown"),
        ("model.fusion", "mean", "merges nothing"),
    ],
)
def test_what_does_not_fit_is_named(ich_file, key, value, words):
    with pytest.raises(InputError, match=words):
        check.check(changed(ich_file.get_config("paper"), key, value))


def test_a_network_with_its_own_encoder_takes_no_other(config_file):
    with pytest.raises(InputError, match="config.model.encoder = 'resnet18_2d'.*of its own"):
        check.check(changed(config_file.get_config("demo"), "model.encoder", "resnet18_2d"))


def changed(config, key, value):
    *path, last = key.split(".")
    with config.unlocked():
        section = config
        for part in path:
            section = section[part]
        section[last] = value
    return config


@pytest.mark.slow
def test_the_road_from_volumes_to_a_report(tmp_path, project_root, monkeypatch):
    """Prepared volumes, stored with a mask a slice, train this network as they are."""
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", sys.argv)
    arguments = [
        f"--config={project_root / 'configs' / 'ich_multitask.py'}:smoke", f"--workdir={tmp_path}", f"--config.model.encoder={ENCODER}",
        "--config.device.data=1", "--config.device.cache=", "--config.cohort.workers=1", "--config.evaluate.bootstrap=50",
    ]  # fmt: skip
    assert main.main(["main", *arguments]) == 0
    assert (tmp_path / "report.html").exists() and (tmp_path / "predictions.csv").exists()
