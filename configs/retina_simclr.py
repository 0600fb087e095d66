"""Stroke from the retina: OCT and infrared images pre-trained by SimCLR, merged with health records: Shurrab et al. 2025, arXiv 2505.02677.

    python -m jaxstroke.main --config configs/retina_simclr.py:VARIANT --workdir runs/VARIANT

| variant    | cohort                                                     | AUC of stroke, time on 2 cores               |
|------------|------------------------------------------------------------|----------------------------------------------|
| paper      | your table, ResNet-50 at 224 x 224, batches of 256         | not measured, needs a GPU                    |
| own        | the same at 128 x 128, ResNet-18, batches of 64            | yours                                        |
| risk       | own, but a stroke within two years of the scan, by dates   | yours                                        |
| pretrain   | encoders alone, from images; no outcome is needed          |                                              |
| finetune   | from those (`--config.model.init_from=WORKDIR`)            |                                              |
| retfound   | from RETFound's ViT-L/16 (`--config.init_from=FILE`)       | not measured                                 |
| demo       | synthetic eyes: 400 patients with an outcome, 2,400        | 0.798 (0.773 to 0.823), attainable 0.863;    |
|            | without, 1,200 tested                                      | nine variants by --mode compare 4 min 50 s   |
| subsets    | ten draws of 100 of them, images alone                     | 0.712, random encoders 0.676; 3 min 23 s     |
| soop_views | SOOP's painted FLAIR slices, linear probes of mRS > 2      | 0.792, random encoders 0.755; 6 min 32 s     |
| smoke      | synthetic eyes, tiny                                       | runs, no more                                |

`--mode compare` of `paper`, `own` and `demo`: both images and the records, each alone, random encoders beside pre-trained ones, frozen
ones, a linear probe. A table has the columns patient_id, eye, oct, ir (pictures, DICOM or .vol files), age, systolic, sex, diagnoses
(ICD-10 codes, `none`) and stroke, empty where it is not known: see docs/own_cohort.md.
"""

import os

from ml_collections import ConfigDict

from jaxstroke import config as settings

DATA = os.environ.get("JAXSTROKE_DATA", "../shared/data")  # where public cohorts lie, unless `cohort.root` says otherwise
BOTH, PRETRAIN, FINETUNE = ("pretrain", "finetune"), ("pretrain",), ("finetune",)


def get_config(variant: str = "own") -> ConfigDict:
    """The config of a variant, locked. Unknown variants raise with the list of known ones."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/retina_simclr.py has no variant '{variant}'. Known: {', '.join(VARIANTS)}.")
    config = settings.base()
    config.cohort.outcomes = ConfigDict({"stroke": ("stroke", "==", 1)})
    config.cohort.study = "eye"
    config.clinical.numeric = ("age", "systolic")
    config.clinical.categorical, config.clinical.codes = ConfigDict({"sex": ()}), ConfigDict({"diagnoses": "blocks"})
    config.images = eyes(224)
    config.loss = ConfigDict({"stroke": {"kind": "binary", "weight": 1.0}})
    config.evaluate.primary = "stroke"
    config.evaluate.per = "patient"
    config.model.name, config.model.encoder, config.model.fusion = "retina_simclr", "resnet50_2d", "concat"
    config.model.standardise, config.model.hidden, config.model.dropout = "each", 256, (0.0, 0.3)
    config.split.inner_folds = 0
    config.optimizer.weight_decay, config.optimizer.schedule = 1e-3, "cosine"
    config.optimizer.encoder_rate = 0.1
    config.train.batch_size, config.train.epochs, config.train.imbalance = 32, 50, "weights"
    stages(config, BOTH)
    VARIANTS[variant](config)
    if not config.variants:
        config.variants = settings.variants(ablations())
    return config.lock()


def picture(column: str, size: int, count: int = 1, channels: int = 1, part: str = "scans") -> ConfigDict:
    """The `count` central pictures a row at most, letterboxed to `size` pixels an axis. part: of a file that holds both, such as a .vol."""
    return settings.image(
        column, shape=(count, size, size), channels=channels, sampling="picture", normalise="photograph", register=False,
        brain_mask="none", dtype="uint8", part=part, pick="central",
    )  # fmt: skip


def eyes(size: int) -> ConfigDict:
    """OCT's central B-scan and the infrared image."""
    return ConfigDict({"oct": picture("oct", size), "ir": picture("ir", size, part="infrared")})


def stages(config, names: tuple[str, ...]):
    """`train.stages` is text in other papers' configs."""
    with config.train.ignore_type():
        config.train.stages = names


def random() -> dict:
    """No pre-training: an encoder that knows nothing learns at the full rate."""
    return {"train.stages": FINETUNE, "optimizer.encoder_rate": 1.0}


def ablations() -> dict[str, dict]:
    """What sees what, and what encoders begin from."""
    images = {"model.fusion": "none"}
    return {
        "all": {},
        "images": images,
        "oct": images | {"model.images": ("oct",)},
        "ir": images | {"model.images": ("ir",)},
        "ehr": {
            "model.name": "clinical_mlp",
            "model.encoder": "",
            "model.fusion": "none",
            "train.stages": FINETUNE,
            "model.standardise": "none",
            "optimizer.encoder_rate": 1.0,
        },
        "random": random(),
        "images_random": images | random(),
        "frozen": {"optimizer.encoder_rate": 0.0},
        "probe": {"optimizer.encoder_rate": 0.0, "model.hidden": 0},
    }


def paper(config):
    """The defaults where the paper is silent, on your table with the columns patient_id, eye, oct, ir, age, systolic, sex and stroke."""


def own(config):
    """The same table on a laptop: half the pixels, a smaller encoder, smaller batches."""
    config.images = eyes(128)
    config.model.encoder = "resnet18_2d"
    config.pretrain.update({"projector": (512, 128), "batch_size": 64, "epochs": 50})


def risk(config):
    """A stroke to come, within two years of the scan: dates in columns stroke_date, scan_date and last_seen in place of stroke."""
    own(config)
    config.cohort.outcomes = ConfigDict({"stroke": ("stroke_date", "within", ("scan_date", "last_seen", 730))})


def pretrain(config):
    """Encoders alone."""
    stages(config, PRETRAIN)


def finetune(config):
    """From a workdir of `:pretrain`, or published weights: --config.model.init_from=..."""
    stages(config, FINETUNE)


def retfound(config):
    """Beside SimCLR: RETFound's published ViT-L/16 and the recipe of its fine-tuning, with --config.init_from=RETFound_oct_weights.pth."""
    finetune(config)
    for image in config.images.values():
        image.channels = 3
    config.model.encoder, config.model.pool, config.model.standardise = "vit_l_2d", "token_mean", "imagenet"
    config.model.drop_path, config.model.remat = 0.2, True
    config.optimizer.layer_decay, config.optimizer.weight_decay, config.optimizer.encoder_rate = 0.65, 0.05, 1.0
    config.train.batch_size = 16
    frozen = {"optimizer.encoder_rate": 0.0, "optimizer.layer_decay": 1.0}
    config.variants = settings.variants({"retfound": {}, "frozen": frozen, "random": {"model.init_from": ""}})


def small(config):
    """64 pixels, an encoder of four stages."""
    config.images = eyes(64)
    config.model.encoder, config.model.widths, config.model.hidden = "plain_2d", (8, 16, 32, 64), 64
    config.optimizer.learning_rate, config.optimizer.encoder_rate = 1e-3, 0.3
    config.pretrain.update({
        "projector": (128, 64), "batch_size": 256, "epochs": 12, "learning_rate": 2e-3, "crop": (0.5, 1.0), "temperature": 0.2,
    })  # fmt: skip
    config.train.imbalance = "none"


def demo(config):
    """Synthetic eyes: a few hundred labelled patients, thousands without labels, and a large test part."""
    config.cohort.recipe = "synthetic_retina"
    config.split.kind, config.split.column = "official", "split"
    config.evaluate.attainable = "true_logit"
    small(config)
    config.train.epochs = 15


def subsets(config):
    """How much pre-training is worth where outcomes are few: ten draws of the patients whose outcome is used, images alone."""
    demo(config)
    config.model.fusion, config.evaluate.attainable = "none", "true_logit_images"
    config.split.labelled, config.train.seeds = 100, tuple(range(10))
    config.train.watch, config.train.epochs = "last", 40  # a handful of validation patients would choose by chance
    config.variants = settings.variants({"simclr": {}, "random": random()})


def soop_views(config):
    """SOOP's FLAIR slices: what pre-training is worth for a linear probe of mRS > 2, on real patients."""
    config.cohort.recipe, config.cohort.root, config.cohort.study = "soop", f"{DATA}/soop", ""
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2)})
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "age": (0, 120), "nihss": (0, 42)})
    config.cohort.complete = ("views", "age", "nihss")
    config.clinical = ConfigDict({"numeric": ("age", "nihss"), "categorical": ConfigDict(), "codes": ConfigDict()})
    small(config)
    config.images = ConfigDict({"views": picture("views", 64, count=3, channels=3)})
    config.loss, config.evaluate.primary = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}}), "poor"
    config.evaluate.per = "study"
    config.model.fusion, config.model.hidden, config.optimizer.encoder_rate = "none", 0, 0.0
    config.pretrain.update({"batch_size": 64, "epochs": 40})  # some 260 patients a fold: four updates an epoch
    probe, whole = {"optimizer.encoder_rate": 0.0}, {"optimizer.encoder_rate": 0.3, "model.hidden": 64}
    config.variants = settings.variants(
        {"probe": {}, "probe_random": random() | probe, "whole": whole, "whole_random": whole | random()}
    )


def smoke(config):
    """Synthetic eyes, tiny."""
    demo(config)
    config.cohort.synthetic_retina.update({"unlabelled": 24, "labelled": 40, "test": 40, "size": 32})
    config.images = eyes(32)
    config.model.widths, config.model.hidden = (4, 8), 8
    config.pretrain.update({"projector": (16, 8), "batch_size": 16, "epochs": 2})
    config.train.batch_size, config.train.epochs = 16, 2
    config.evaluate.bootstrap = 200


VARIANTS = {
    "demo": demo, "finetune": finetune, "own": own, "paper": paper, "pretrain": pretrain, "retfound": retfound, "risk": risk,
    "soop_views": soop_views, "smoke": smoke, "subsets": subsets,
}  # fmt: skip
