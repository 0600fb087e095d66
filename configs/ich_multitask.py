"""Prognosis of intracranial haemorrhage from one head CT, with coma scale and age as further tasks: Cobo et al. 2024, arXiv 2408.08784.

Published with code: DenseNet121-3D on 261 skull-stripped scans (162 of poor prognosis), on request at digital.csic.es/handle/10261/275792.
Prognosis over their 10 folds, mean (deviation): AUC 0.715 (0.05), balanced accuracy 0.667 (0.05), F1 0.711 (0.09); the same network
with that task alone: 0.686 (0.07), 0.591 (0.10), 0.641 (0.21).

    python -m jaxstroke.main --config configs/ich_multitask.py --config.cohort.root=FOLDER --workdir runs/ich
    python -m jaxstroke.main --config configs/ich_multitask.py:own --config.cohort.table=my.csv --workdir runs/mine

| variant     | network, tasks and weights                                                          | published AUC |
|-------------|-------------------------------------------------------------------------------------|---------------|
| ordgcs_age  | the proposed one, the default: prognosis 0.4, coma scale in three levels 0.3, age 0.3 | 0.715 (0.05) |
| gcs_age     | prognosis 0.4, coma scale of 8 and less 0.3, age 0.3                                | 0.669 (0.09)  |
| age         | prognosis 0.5, age of 80 and more 0.3                                               | 0.724 (0.08)  |
| gcs         | prognosis 0.4, coma scale of 8 and less 0.3                                         | 0.705 (0.10)  |
| ordgcs      | prognosis 0.4, coma scale in three levels 0.3                                       | 0.696 (0.07)  |
| densenet    | prognosis alone                                                                     | 0.686 (0.07)  |
| baseline    | prognosis alone, the network of Pérez et al. 2023                                   | 0.625 (0.09)  |
| tabular     | prognosis alone, from the 42 clinical columns and no image                           | -             |
| gcs_only    | coma scale of 8 and less alone, class weights                                       | -             |
| age_only    | age of 80 and more alone, class weights                                             | -             |
| own         | ordgcs_age on a table of yours: patient_id, ct, poor_prognosis, gcs, age            | -             |
| demo        | synthetic heads with their skull, a small network: 0.789 of 0.845, 2 minutes          | -             |
| adrenal     | AdrenalMNIST3D, cross-validated on train and val: 0.861, 17 minutes                 | -             |
| soop        | lesion masks of SOOP, mRS > 2: 0.748, 11 minutes; soop_single: that task alone       | -             |
| smoke       | the same at 32 x 32 x 32 on a few synthetic patients: runs, no more; compiles minutes | -           |

Those of the paper are sized for a GPU (40 x 301 x 301, batch 8 x 3, 100 epochs, 10 folds); `paper` is another name of ordgcs_age.
`--mode compare` with it trains the nine of the paper's table on the same folds and sets them beside each other.
`--mode benchmark` times their step without any data, and with `--config.benchmark.kind=compile` says how much memory it takes. Times in
the table are of two cores without accelerator. `--config.train.as_published=True` follows the published code where it differs from what its
authors meant: see `jaxstroke/training/published.py`.
"""

import os

from ml_collections import ConfigDict

from jaxstroke import config as settings

DATA = os.environ.get("JAXSTROKE_DATA", "../shared/data")  # where public cohorts lie, unless `cohort.root` says otherwise
TASKS = {  # name: (column, rule, value); a network has a head for those that its loss names
    "prognosis": ("poor_prognosis", "==", 1),
    "gcs": ("gcs", "ordinal", (13, 9)),  # 0 for 13 and more, 1 for 9 to 12, 2 for 8 and less
    "gcs_binary": ("gcs", "<=", 8),
    "age": ("age", ">=", 80),
}
KINDS = {"gcs": "ordinal", "severity": "ordinal"}  # others: binary


def losses(**weights: float) -> dict:
    """Tasks a network has a head for, with the weight of each in the loss; the first is the primary one."""
    return {name: {"kind": KINDS.get(name, "binary"), "weight": weight} for name, weight in weights.items()}


PUBLISHED = {  # the paper's nine networks, for --mode compare; the proposed one is the first row
    "ordgcs_age": {},
    "gcs_age": {"loss": losses(prognosis=0.4, gcs_binary=0.3, age=0.3)},
    "age": {"loss": losses(prognosis=0.5, age=0.3)},
    "gcs": {"loss": losses(prognosis=0.4, gcs_binary=0.3)},
    "ordgcs": {"loss": losses(prognosis=0.4, gcs=0.3)},
    "densenet": {"loss": losses(prognosis=1.0)},
    "baseline": {"loss": losses(prognosis=1.0), "model.encoder": "perez_3d", "model.dropout": (0.5, 0.0)},
    # Deviation: both classes are weighted to the same sum, not the rarer one by the ratio of the two.
    "gcs_only": {"loss": losses(gcs_binary=1.0), "evaluate.primary": "gcs_binary", "train.imbalance": "weights"},
    "age_only": {"loss": losses(age=1.0), "evaluate.primary": "age", "train.imbalance": "weights"},
}


def get_config(variant: str = "ordgcs_age") -> ConfigDict:
    """The config of a variant, locked. Unknown variants raise with the list of known ones."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/ich_multitask.py has no variant '{variant}'. Known: {', '.join(VARIANTS)}.")
    config = settings.base()
    config.cohort.recipe = "csic_ich"
    config.cohort.outcomes = ConfigDict(TASKS)
    config.cohort.ranges = ConfigDict({"gcs": (3, 15), "age": (0, 120)})
    config.cohort.complete = ("ct",)
    config.clinical.numeric = ("age", "gcs")  # no input: the report describes the patients by them
    config.images = ConfigDict({"ct": scan((40, 301, 301))})
    config.split.stratify = "prognosis"
    config.evaluate.comparators.clinical = False  # age and coma scale are outcomes here: a regression on them would know two of the tasks
    config.evaluate.subgroups = ("age",)
    config.model.name = "ich_multitask"
    config.model.encoder = "densenet121_3d"
    config.model.dropout = (0.2, 0.0)  # of whole channels, after every dense layer
    protocol(config)
    tasks(config, prognosis=0.4, gcs=0.3, age=0.3)
    VARIANTS[variant](config)
    return config.lock()


def scan(shape: tuple[int, int, int]) -> ConfigDict:
    """A skull-stripped CT as the paper prepares it (section 3.3): 15 to 100 HU, what lies outside erased, all voxels onto `shape`."""
    return settings.image(
        "ct", kind="volume", shape=shape, sampling="resize", normalise="window_erased", window=(15.0, 100.0), register=False,
        brain_mask="none",
    )  # fmt: skip


def protocol(config):
    """Folds, optimiser, schedule, stopping and augmentation (sections 3.4 and 3.6).

    Deviation: folds are dealt by this package, not by scikit-learn's shuffle; oversampled patients are drawn anew every epoch.
    Deviation: rotation is three shears a plane with zeros coming in from outside; zoom is linear, not by areas.
    """
    config.split.folds = 10
    config.split.inner_share = 0.1
    config.split.inner_folds = 0
    config.optimizer.name = "adamw_amsgrad"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip = 0.0
    config.optimizer.schedule = "plateau"
    config.train.batch_size = 8
    config.train.accumulation = 3
    config.train.epochs = 100
    config.train.watch = "balanced_accuracy"
    config.train.smoothing = 0.0
    config.train.patience = 20
    config.train.imbalance = "oversample"
    config.evaluate.batch_size = 8
    config.train.augment.update(
        {"axes": "volume", "flip": 0.0, "rotate": 5.0, "rotate_share": 0.5, "shift": 0.0, "zoom": 1.1, "zoom_share": 0.5,
         "intensity": 0.0, "noise": 0.01, "noise_share": 0.5}
    )  # fmt: skip


def tasks(config, **weights: float):
    """The tasks a network has a head for, with the weight of each in the loss; the first is the primary one."""
    config.loss = ConfigDict(losses(**weights))
    config.evaluate.primary = next(iter(weights))


def ordgcs_age(config):
    """The proposed network: 11,246,724 parameters."""
    config.variants = settings.variants(PUBLISHED)


def published(name: str):
    """A variant by the table of the paper's networks."""

    def change(config):
        for key, value in PUBLISHED[name].items():
            section, _, leaf = key.rpartition(".")
            (config[section] if section else config)[leaf] = ConfigDict(value) if isinstance(value, dict) else value

    return change


def tabular(config):
    """Deviation: weight decay is apart from the gradient, not Adam's L2; the coma scale is scaled as the others are, not coded 0 to 12."""
    from jaxstroke.cohort.public import csic_ich  # reads tables: not for a benchmark of another variant

    tasks(config, prognosis=1.0)
    config.model.name, config.model.encoder, config.model.dropout = "tabular_dnn", "", (0.3, 0.0)
    config.model.scaling = "minmax"
    config.clinical.numeric = tuple(csic_ich.COLUMNS)
    config.images, config.cohort.complete = ConfigDict(), ()
    config.evaluate.comparators.clinical = True
    config.optimizer.weight_decay = 1e-3
    config.train.batch_size, config.train.accumulation = 128, 1


def own(config):
    """A table of your own, prepared and trained as in the paper."""
    ordgcs_age(config)
    config.cohort.recipe = "table"


def demo(config):
    """A synthetic cohort of head CTs whose best attainable AUC from the image is known (`jaxstroke/cohort/synthetic_ich.py`).

    From heads with their skull, so that the brain is found first; column `ct` has the same stripped.
    """
    config.cohort.recipe = "synthetic_ich"
    config.cohort.synthetic.shape = (32, 32, 32)
    config.cohort.synthetic.spacing = (4.5, 6.0, 6.0)
    config.images = ConfigDict({"ct": scan((32, 32, 32))})
    config.images.ct.update({"column": "ct_head", "brain_mask": "ct_brain"})
    config.split.folds = 5
    config.split.inner_share = 0.2
    config.evaluate.attainable = "true_logit_image"
    few_hundred(config)
    config.variants = settings.variants({name: values for name, values in PUBLISHED.items() if name != "baseline"})  # needs 38 voxels


def adrenal(config):
    """AdrenalMNIST3D (MedMNIST v2): normal or hyperplasia; the 64-voxel masks averaged to 32 an axis; cross-validated on train and val.

    Partly filled voxels keep the gland's thickness, which tells much. Published 3D ResNets reach an AUC near 0.83 on the official test.
    """
    config.cohort.recipe = "medmnist3d"
    config.cohort.medmnist3d.size = 64
    config.cohort.root = f"{DATA}/adrenalmnist3d"
    config.cohort.complete = ("image",)
    config.cohort.outcomes = ConfigDict({"hyperplasia": ("label", "==", 1)})
    config.cohort.ranges = ConfigDict()
    config.clinical.numeric = ()
    config.images = ConfigDict(
        {
            "image": settings.image(
                "image", kind="volume", shape=(32, 32, 32), sampling="resize", normalise="scale", window=(0.0, 255.0), register=False,
                brain_mask="none", dtype="uint8",
            )
        }
    )  # fmt: skip
    config.evaluate.subgroups = ()
    config.split.folds = 5
    config.split.inner_share = 0.1
    config.split.stratify = "hyperplasia"
    few_hundred(config)
    config.train.epochs, config.train.seeds = 12, (0, 1)
    config.train.batch_size, config.optimizer.learning_rate = 32, 2e-3
    config.train.augment.update({"rotate": 0.0, "shift": 0.07, "zoom_share": 0.0})  # the others would blur such voxels
    tasks(config, hyperplasia=1.0)


def soop(config):
    """The Stroke Outcome Optimization Project: lesion masks in MNI space in; mRS > 2, NIHSS in three levels and age >= 80 out.

    The network sees no clinical column; the report's regressions do.
    """
    config.cohort.recipe = "soop"
    config.cohort.root = f"{DATA}/soop"
    config.cohort.complete = ("lesion", "age", "nihss")
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2), "severity": ("nihss", "ordinal", (5, 16)), "old": ("age", ">=", 80)})
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "age": (0, 120), "nihss": (0, 42)})
    config.clinical.numeric = ("age", "nihss")
    config.clinical.categorical = ConfigDict({"sex": ("F", "M")})
    config.images = ConfigDict(
        {
            "lesion": settings.image(
                "lesion", kind="volume", shape=(32, 40, 40), spacing=(4.3, 4.8, 4.8), normalise="mask_log", register=False,
                brain_mask="none", dtype="uint8",
            )
        }
    )  # fmt: skip
    config.evaluate.comparators.clinical = True
    config.evaluate.comparators.volume = "lesion"
    config.evaluate.subgroups = ("sex", "age")
    config.split.folds = 5
    config.split.inner_share = 0.1
    config.split.stratify = "poor"
    few_hundred(config)
    config.train.epochs, config.train.seeds = 8, (0, 1)  # the training loss goes on falling, the validation loss does not
    config.train.batch_size = 32
    config.train.augment.update({"rotate": 0.0, "shift": 0.03, "zoom_share": 0.0})  # all masks lie in one space
    tasks(config, poor=0.5, severity=0.4, old=0.1)  # where a lesion lies tells next to nothing of age
    losses_of = {"poor_only": {"poor": 1.0}, "poor_severity": {"poor": 0.5, "severity": 0.4}, "poor_old": {"poor": 0.5, "old": 0.1}}
    changes = {name: {"loss": losses(**weights)} for name, weights in losses_of.items()}
    config.variants = settings.variants({"all_tasks": {}} | changes)


def soop_single(config):
    """The same patients and folds, mRS > 2 alone."""
    soop(config)
    tasks(config, poor=1.0)
    config.variants = ConfigDict()


def few_hundred(config):
    """A network and a schedule for a few hundred patients on two cores: no oversampling, few epochs, the last one kept."""
    config.model.encoder, config.model.dropout = "resnet_small_3d", (0.0, 0.0)
    config.train.imbalance = "none"
    config.train.watch = "last"
    config.train.epochs = 10
    config.train.batch_size = 16
    config.train.accumulation = 1
    config.evaluate.batch_size = 32
    config.optimizer.schedule, config.optimizer.warmup = "cosine", 0.05
    config.optimizer.learning_rate, config.optimizer.weight_decay, config.optimizer.clip = 1e-3, 1e-2, 1.0
    config.train.augment.update({"flip": 0.0, "rotate": 10.0, "rotate_share": 1.0, "shift": 0.05, "zoom_share": 0.5, "noise": 0.0})


def smoke(config):
    """A few steps on synthetic patients: their diffusion image, NIHSS and mRS in place of a head CT, coma scale and prognosis."""
    config.cohort.recipe = "synthetic"
    config.cohort.synthetic.patients = 48
    config.cohort.synthetic.shape = (12, 32, 32)
    config.cohort.synthetic.spacing = (10.0, 6.4, 6.4)
    config.cohort.outcomes = ConfigDict({"prognosis": ("mrs", ">", 2), "gcs": ("nihss", "ordinal", (6, 12)), "age": ("age", ">=", 70)})
    config.clinical.numeric = ("age", "nihss")
    config.images = ConfigDict({"ct": settings.image("dwi", kind="volume", shape=(32, 32, 32), spacing=(4.0, 6.4, 6.4), register=False)})
    config.split.folds = 2
    config.split.inner_share = 0.3
    config.train.batch_size = 2
    config.train.accumulation = 1
    config.train.epochs = 1
    config.evaluate.bootstrap = 200
    config.variants = settings.variants({"ordgcs_age": {}, "age": PUBLISHED["age"]})


VARIANTS = {name: published(name) for name in PUBLISHED} | {
    "ordgcs_age": ordgcs_age, "paper": ordgcs_age, "tabular": tabular, "own": own, "demo": demo, "adrenal": adrenal, "soop": soop,
    "soop_single": soop_single, "smoke": smoke,
}  # fmt: skip
