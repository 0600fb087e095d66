"""Prognosis of intracranial haemorrhage from one head CT, with coma scale and age as further tasks: Cobo et al. 2024, arXiv 2408.08784.

Published with code: DenseNet121-3D on 261 skull-stripped scans (162 of poor prognosis), on request at digital.csic.es/handle/10261/275792.
Prognosis over their 10 folds, mean (deviation): AUC 0.715 (0.05), balanced accuracy 0.667 (0.05), F1 0.711 (0.09); the same network
with that task alone: 0.686 (0.07), 0.591 (0.10), 0.641 (0.21).

    python -m jaxstroke.main --config configs/ich_multitask.py:paper --workdir runs/ich --mode benchmark

| variant | what                                                                                                                 |
|---------|----------------------------------------------------------------------------------------------------------------------|
| paper   | the published network, 11,246,724 parameters, at 40 x 301 x 301, batch 8 x 3: for a GPU; `--mode benchmark` times it |
| smoke   | the same network at 32 x 32 x 32 on synthetic patients that stand in for a cohort: runs, no more; compiles minutes   |

The paper's preparation of scans and its protocol come later. `paper` trains on a table of yours (patient_id, ct, poor_prognosis, gcs, age:
`--config.cohort.table=my.csv`) with skull-stripped scans, prepared by this package's own rules, which differ as `paper` below says.
"""

from ml_collections import ConfigDict

from jaxstroke import config as settings


def get_config(variant: str = "paper") -> ConfigDict:
    """The config of a variant, locked. Unknown variants raise with the list of known ones."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/ich_multitask.py has no variant '{variant}'. Known: {', '.join(VARIANTS)}.")
    config = settings.base()
    config.loss = ConfigDict(
        {
            "prognosis": {"kind": "binary", "weight": 0.4},
            "gcs": {"kind": "ordinal", "weight": 0.3},
            "age": {"kind": "binary", "weight": 0.3},
        }
    )
    config.evaluate.primary = "prognosis"
    config.evaluate.subgroups = ("age",)
    config.evaluate.subgroup_bounds = ConfigDict({"age": (65, 80)})
    config.evaluate.comparators.clinical = False  # age and coma scale are outcomes here: a regression on them would know two of the tasks
    config.split.stratify = "prognosis"
    config.split.inner_folds = 0
    config.cohort.complete = ("ct",)
    config.model.name = "ich_multitask"
    config.model.encoder = "densenet121_3d"
    config.model.dropout = (0.2, 0.0)  # of whole channels, after every dense layer
    config.optimizer.name = "adamw_amsgrad"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip = 0.0
    config.train.augment.flip = 0.0
    config.train.augment.rotate = 5.0
    config.train.augment.shift = 0.0
    config.train.augment.intensity = 0.0
    VARIANTS[variant](config)
    return config.lock()


def paper(config):
    """The published size and schedule (papers' sections 3.2 to 3.6).

    Deviation: scans are resampled to 0.77 mm in plane instead of resized from 512 to 301 pixels; values above 100 HU become 1 instead of 0;
    scans with fewer than 40 slices are padded at one end instead of both, of longer ones evenly spaced slices are kept.
    Deviation: rotation is in plane only, there is no noise, and no zoom by 1.1, which the published code gave to training scans alone.
    Deviation: the learning rate is constant instead of falling by 2 % on plateaus of the training loss; the best epoch is that of the
    smoothed validation loss instead of the balanced accuracy of 24 patients; classes are not oversampled.
    """
    config.cohort.outcomes = ConfigDict(
        {"prognosis": ("poor_prognosis", "==", 1), "gcs": ("gcs", "ordinal", (13, 9)), "age": ("age", ">=", 80)}
    )
    config.cohort.ranges = ConfigDict({"gcs": (3, 15), "age": (0, 120)})
    config.clinical.numeric = ("age", "gcs")  # the network does not see them
    config.images = ConfigDict(
        {
            "ct": settings.image(
                "ct", kind="volume", shape=(40, 301, 301), spacing=(0.0, 0.77, 0.77), normalise="window", window=(15.0, 100.0),
                register=False,
            )
        }
    )  # fmt: skip
    config.split.folds = 10
    config.split.inner_share = 0.1
    config.train.batch_size = 8
    config.train.accumulation = 3
    config.train.epochs = 100
    config.train.patience = 20
    config.evaluate.batch_size = 8


def smoke(config):
    """A few steps on synthetic patients: their diffusion image, NIHSS and mRS in place of a head CT, coma scale and prognosis."""
    config.cohort.recipe = "synthetic"
    config.cohort.synthetic.patients = 48
    config.cohort.synthetic.shape = (12, 32, 32)
    config.cohort.synthetic.spacing = (10.0, 6.4, 6.4)
    config.cohort.outcomes = ConfigDict(
        {"prognosis": ("mrs", ">", 2), "gcs": ("nihss", "ordinal", (6, 12)), "age": ("age", ">=", 70)}
    )  # fmt: skip
    config.clinical.numeric = ("age", "nihss")
    config.images = ConfigDict({"ct": settings.image("dwi", kind="volume", shape=(32, 32, 32), spacing=(4.0, 6.4, 6.4), register=False)})
    config.split.folds = 2
    config.split.inner_share = 0.3
    config.train.batch_size = 2
    config.train.epochs = 1
    config.evaluate.batch_size = 8
    config.evaluate.bootstrap = 200


VARIANTS = {"paper": paper, "smoke": smoke}
