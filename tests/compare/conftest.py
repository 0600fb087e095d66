"""A small study, run once: two modules with a stacked merge, and variants that share its networks or have their own."""

import pytest

from jaxstroke import config as settings
from jaxstroke.compare import mode

CHANGES = {
    "all": {},
    "only_dwi": {"model.images": ("dwi",), "model.fusion": "mean"},
    "rule_mean": {"model.fusion": "mean"},
    "clinical": {"model.name": "clinical_mlp", "model.fusion": "none"},
    "wider": {"model.images": ("tmax",), "model.fusion": "mean", "model.widths": (4, 6)},
}


class NeverStops:
    """What the loop asks whether SIGTERM came."""

    training = False

    def __call__(self) -> bool:
        return False


@pytest.fixture(scope="session")
def study_config(config_file):
    """The config of the study; tests take copies."""
    config = config_file.get_config("smoke")
    with config.unlocked():
        config.cohort.synthetic.patients = 40
        config.cohort.workers = 1
        config.model.images = ("dwi", "tmax")
        config.train.epochs = 2
        config.train.batch_size = 8
        config.evaluate.bootstrap = 50
        config.device.data = 1
        config.variants = settings.variants(CHANGES)
    return config


@pytest.fixture(scope="session")
def study(study_config, tmp_path_factory):
    """The study's workdir, finished. Tests only read it."""
    workdir = mode.epath.Path(tmp_path_factory.mktemp("study") / "run")
    mode.compare(study_config, workdir, NeverStops())
    return workdir


@pytest.fixture
def never_stops():
    return NeverStops()
