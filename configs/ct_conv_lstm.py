"""One prediction from any number of images of a patient, by a 2D network and a memory: Leal et al. 2020, arXiv 2010.10004.

Published: that it can be done; data, network and figures are not public. Defaults are those of its published family.

    python -m jaxstroke.main --config configs/ct_conv_lstm.py:VARIANT --workdir runs/VARIANT

| variant    | cohort                                                    | AUC of the primary task; time on 2 cores |
|------------|-----------------------------------------------------------|------------------------------------------|
| paper      | your table, up to 64 images of 128 x 128 a patient        | not measured, needs a GPU                |
| own        | the same at 64 x 64, half the widths                      | yours                                    |
| demo       | 900 synthetic patients, 2 to 64 JPG files of head CT each | 0.785 (0.754 to 0.817), attention 0.818; |
|            |                                                           | attainable 0.828; 3 min 8 s              |
| soop_views | SOOP's painted FLAIR slices, three a patient, mRS > 2,    | 0.800 (0.755 to 0.840), images alone     |
|            | merged with age and NIHSS                                 | 0.788; 9 minutes beside other work       |
| smoke      | synthetic slices, tiny                                    | runs, no more                            |

A table has the columns patient_id, images (a folder, or files joined by `|`) and diagnosis (0 or 1). One of several classes instead:

    --config.cohort.outcomes.diagnosis="('diagnosis','classes',('normal','infarct','bleeding'))" --config.loss.diagnosis.kind=classes

Several at once, in cells such as `infarct|bleeding`, are a binary task each, by a rule `("diagnoses", "contains", "bleeding")` in a config
of your own: see docs/own_cohort.md.
`model.sequence` is `lstm`, `gru`, `convlstm`, or a control that knows no order: `attention`, `mean` (of per-image log-odds), `max`.
`--mode compare` sets them side by side.
"""

import os

from ml_collections import ConfigDict

from jaxstroke import config as settings

DATA = os.environ.get("JAXSTROKE_DATA", "../shared/data")  # where public cohorts lie, unless `cohort.root` says otherwise
SEQUENCES = ("attention", "mean", "gru", "max", "convlstm")


def get_config(variant: str = "own") -> ConfigDict:
    """The config of a variant, locked. Unknown variants raise with the list of known ones."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/ct_conv_lstm.py has no variant '{variant}'. Known: {', '.join(VARIANTS)}.")
    config = settings.base()
    config.cohort.outcomes = ConfigDict({"diagnosis": ("diagnosis", "==", 1)})
    config.cohort.complete = ("images",)
    config.images = ConfigDict({"images": pictures("images", (64, 128, 128))})
    config.loss = ConfigDict({"diagnosis": {"kind": "binary", "weight": 1.0}})
    config.evaluate.primary = "diagnosis"
    config.model.name = "ct_conv_lstm"
    config.model.widths = (32, 64, 128, 128)
    config.model.hidden = 128
    config.model.dropout = (0.3, 0.5)
    config.split.inner_folds = 0
    config.optimizer.learning_rate, config.optimizer.schedule = 1e-3, "cosine"
    config.train.imbalance = "weights"
    VARIANTS[variant](config)
    if not config.variants:
        config.variants = settings.variants({"lstm": {}} | {name: {"model.sequence": name} for name in SEQUENCES})
    return config.lock()


def pictures(column: str, shape: tuple[int, int, int], channels: int = 1, normalise: str = "photograph") -> ConfigDict:
    """Up to `shape[0]` pictures a patient, letterboxed to the other two."""
    return settings.image(column, shape=shape, channels=channels, normalise=normalise, register=False, brain_mask="none", dtype="uint8")


def paper(config):
    """The published size, batches cut to four lengths."""
    config.train.buckets = (8, 16, 32)


def own(config):
    """A table of your own, on a laptop."""
    paper(config)
    config.images.images.shape = (64, 64, 64)
    small(config)


def small(config):
    """Half the widths, for a few hundred patients on two cores."""
    config.model.widths = (16, 32, 64)
    config.model.hidden = 64
    config.train.batch_size, config.train.epochs, config.train.patience = 16, 30, 10
    config.train.imbalance = "none"


def demo(config):
    """Synthetic head CTs written as JPG files, 2 to 64 a patient, whose attainable AUC is known; the lesion is on few of them."""
    config.cohort.recipe = "synthetic_ct_jpg"
    config.cohort.synthetic.patients, config.cohort.synthetic.spacing = 900, (10.0, 3.0, 3.0)
    config.cohort.outcomes = ConfigDict({"poor": ("poor_outcome", "==", 1)})
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
    config.evaluate.primary, config.evaluate.attainable = "poor", "true_logit_image"
    config.images = ConfigDict({"images": pictures("ct", (64, 48, 48))})
    config.train.buckets = (8, 16, 32)
    small(config)
    config.model.encoder = "plain_2d"  # batch normalisation: without it a small lesion is not found in these few epochs
    config.model.widths = (16, 32, 64, 128)
    config.model.dropout = (0.0, 0.3)
    config.split.folds = 3
    config.train.batch_size, config.train.epochs = 8, 12
    config.train.augment.update({"rotate": 0.0, "shift": 0.0, "intensity": 0.0})  # a lesion is three pixels wide, and known by its grey


def soop_views(config):
    """The three painted FLAIR slices of each of SOOP's patients; the clinical columns are for the report's regressions."""
    config.cohort.recipe, config.cohort.root = "soop", f"{DATA}/soop"
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2)})
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "age": (0, 120), "nihss": (0, 42)})
    config.cohort.complete = ("views", "lesion", "age", "nihss")
    config.clinical.numeric = ("age", "nihss")
    config.images = ConfigDict(
        {
            "views": pictures("views", (3, 64, 64), channels=3),
            "unpainted": pictures("views", (3, 64, 64), normalise="photograph_unpainted"),
            "lesion": settings.image("lesion", normalise="mask", register=False),
        }
    )
    config.model.images = ("views",)
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
    config.evaluate.primary = "poor"
    config.evaluate.comparators.columns = ("red_pixels",)
    config.evaluate.subgroups = ("sex", "age")
    small(config)
    config.model.fusion, config.split.inner_folds = "stacked", 3
    config.model.encoder, config.model.widths = "plain_2d", (16, 32, 64, 128)
    config.model.dropout = (0.0, 0.3)
    config.optimizer.learning_rate = 2e-3
    unpainted = {"model.images": ("unpainted",)}
    config.variants = settings.variants({"lstm": {}, "unpainted": unpainted})


def smoke(config):
    """Slices of synthetic diffusion images, tiny."""
    config.cohort.recipe = "synthetic"
    config.cohort.synthetic.patients = 48
    config.cohort.synthetic.shape, config.cohort.synthetic.spacing = (6, 32, 32), (20.0, 6.4, 6.4)
    config.cohort.outcomes = ConfigDict({"diagnosis": ("mrs", ">", 2)})
    config.clinical.numeric = ("age", "nihss")
    config.images = ConfigDict({"images": settings.image("dwi", shape=(6, 16, 16), spacing=(20.0, 12.8, 12.8), register=False)})
    config.split.folds = 2
    config.model.widths, config.model.hidden = (4, 8), 8
    config.train.batch_size, config.train.epochs, config.train.imbalance = 16, 3, "none"
    config.evaluate.bootstrap = 200


VARIANTS = {"demo": demo, "own": own, "paper": paper, "soop_views": soop_views, "smoke": smoke}
