"""MRI, clinical columns and a generated report, aligned with the image (VDAFM): Chen et al. 2026, arXiv 2605.14710.

    python -m jaxstroke.main --config configs/trimodal_align.py:VARIANT --workdir runs/VARIANT

| variant | cohort                                                     | AUC of `poor`, 95 % interval; time on 2 cores   |
|---------|------------------------------------------------------------|-------------------------------------------------|
| paper   | your table at 64 x 128 x 128, ResNet-18, BERT-base         | not measured, needs a GPU                       |
| own     | your table, reports by template from your lesion masks     | yours                                           |
| llm     | the same, reports by a language model on your own server   | yours                                           |
| demo    | 400 synthetic patients whose reports tell what is faint    | 0.828 (0.789 to 0.865), attainable 0.903; 8 min |
| soop    | SOOP, 418 complete patients: `--config.cohort.root=FOLDER` | 0.816 (0.773 to 0.856); 21 min                  |
| smoke   | the demo, tiny                                             | runs, no more                                   |

Times are beside another run, that of `:soop` for its half. Published: no number, no code, no cohort; layers and losses are papers'
section 5.3. `--mode compare` sets beside the whole network each modality alone and each pair, without the condition,
without each loss, without each modality's own logits, the vision-core alternative, late concatenation, another patient's report, no report
with as many parameters, and a two-tower network with matching.

`own` reads the columns patient_id, flair, lesion (NIfTI), age, nihss, sex and mrs (0 to 6); `--config.text.source=given` with
`--config.cohort.text=report` takes reports from the table. See docs/own_cohort.md.
"""

import os

from ml_collections import ConfigDict

from jaxstroke import config as settings

DATA = os.environ.get("JAXSTROKE_DATA", "../shared/data")  # where public cohorts lie, unless `cohort.root` says otherwise
MASK = {"normalise": "mask", "brain_mask": "none", "dtype": "uint8"}


def get_config(variant: str = "own") -> ConfigDict:
    """The config of a variant, locked. Unknown variants raise with the list of known ones."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/trimodal_align.py has no variant '{variant}'. Known: {', '.join(VARIANTS)}.")
    config = settings.base()
    config.cohort.outcomes = ConfigDict({"poor": ("mrs", ">", 2)})
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "age": (0, 120), "nihss": (0, 42)})
    config.clinical.numeric = ("age", "nihss")
    config.clinical.categorical = ConfigDict({"sex": ()})
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
    config.evaluate.primary = "poor"
    config.evaluate.subgroups = ("sex", "age")
    config.evaluate.subgroup_bounds = ConfigDict({"age": (65, 80)})
    config.split.stratify = "poor"
    config.split.inner_folds = 0
    config.model.name, config.model.encoder, config.model.hidden = "trimodal_align", "resnet18_3d", 256
    config.model.dropout = (0.0, 0.3)
    config.optimizer.weight_decay, config.optimizer.schedule, config.optimizer.warmup = 1e-2, "cosine", 0.05
    config.train.batch_size, config.train.epochs, config.train.patience = 16, 100, 20
    config.train.augment.flip = 0.0  # reports name sides
    config.text.source, config.text.mask = "template", "lesion"
    config.text.pool, config.align.local, config.align.own = "attention", "contrast", 1.0
    VARIANTS[variant](config)
    if not config.variants:
        config.variants = settings.variants(ablations(config))
    return config.lock()


def ablations(config) -> dict:
    """Papers' section 5.3. Where words attend to nothing they are not aligned with it."""
    alone = {"align.report": 0.0, "align.words": 0.0}
    found = {"all": {}}
    for name in ("image", "clinical", "text"):
        found[f"only_{name}"] = {"model.modalities": (name,)} | alone
    for left_out in ("image", "clinical", "text"):
        rest = tuple(name for name in ("image", "clinical", "text") if name != left_out)
        found[f"without_{left_out}"] = {"model.modalities": rest} | (alone if left_out != "clinical" else {})
    return found | {
        "unconditioned": {"model.conditioned": False},
        "without_report_loss": {"align.report": 0.0},
        "without_word_loss": {"align.words": 0.0},
        "unaligned": alone,
        "without_own_losses": {"align.own": 0.0},
        "vision_core": {"align.words": 0.0, "align.clinical": config.align.report},
        "late": {"model.joined": "concat"} | alone,
        "two_tower": {"model.joined": "two_tower", "align.report": 0.5, "align.matching": 0.5, "align.words": 0.0},
        "shuffled_reports": {"text.control": "shuffled"},
        "empty_reports": {"text.control": "constant"},
        "image_of_same_size": {"model.modalities": ("image", "text"), "text.control": "constant"},
    }


def paper(config):
    """The size of the family, where the paper is silent: BERT-base, frozen, its features computed once.

    Its weights are looked for in the folder `bert`; elsewhere `--config.text.init_from=FILE --config.text.vocabulary=FILE`.
    """
    size = {"shape": (64, 128, 128), "spacing": (2.5, 1.6, 1.6), "kind": "volume"}
    config.images = ConfigDict({"flair": settings.image("flair", **size), "lesion": settings.image("lesion", **size, **MASK)})
    config.cohort.reference = "flair"
    config.text.width, config.text.depth, config.text.heads, config.text.intermediate = 768, 12, 12, 3072
    config.text.vocabulary_size, config.text.length = 30522, 256  # of the uncased vocabulary
    config.text.init_from, config.text.vocabulary, config.text.precomputed = "bert/model.safetensors", "bert/vocab.txt", True
    config.split.repeats = 5


def own(config):
    """A cohort of your own at a size that a laptop trains in an evening; reports by template, their words learned from them."""
    size = {"shape": (16, 64, 64), "spacing": (9.0, 3.2, 3.2), "kind": "volume"}
    config.images = ConfigDict({"flair": settings.image("flair", **size), "lesion": settings.image("lesion", **size, **MASK)})
    config.cohort.reference = "flair"
    small(config)


def llm(config):
    """Reports by a language model behind an OpenAI-compatible server, from findings and three key slices."""
    own(config)
    config.text.source, config.text.llm.image = "llm", "flair"
    config.text.llm.url, config.text.llm.model = "http://127.0.0.1:8000/v1", "local"


def demo(config):
    """Synthetic patients whose white matter shows faintly what their reports say in words, and whose outcome hangs on it."""
    size = {"shape": (12, 40, 40), "spacing": (10.0, 4.5, 4.5), "kind": "volume"}
    config.images = ConfigDict({"flair": settings.image("flair", **size), "lesion": settings.image("lesion", **size, **MASK)})
    config.cohort.reference = "flair"
    config.cohort.recipe = "synthetic_reports"
    config.cohort.synthetic.patients = 400
    config.cohort.synthetic.shape, config.cohort.synthetic.spacing = (12, 48, 48), (10.0, 4.2, 4.2)
    config.cohort.text, config.text.source, config.text.mask = "report", "given", ""
    config.evaluate.attainable = "true_logit"
    config.evaluate.comparators.volume = "lesion"
    small(config)
    config.optimizer.learning_rate, config.train.epochs, config.model.dropout = 2e-3, 20, (0.1, 0.5)
    config.text.unread, config.model.modality_dropout, config.text.length = 0.3, 0.1, 72


def soop(config):
    """The Stroke Outcome Optimization Project: lesion masks, painted FLAIR slices, columns, and reports of masks by the arterial atlas."""
    config.cohort.recipe = "soop"
    config.cohort.root = f"{DATA}/soop"
    config.cohort.complete = ("lesion", "views", "age", "nihss")
    config.cohort.ranges.bmi = (5, 100)
    mask = {"shape": (12, 40, 40), "spacing": (11.4, 4.8, 4.8), "kind": "volume", "register": False}
    views = {"shape": (3, 48, 48), "channels": 3, "normalise": "photograph", "register": False, "brain_mask": "none", "dtype": "uint8"}
    config.images = ConfigDict({"lesion": settings.image("lesion", **mask, **MASK), "views": settings.image("views", **views)})
    config.clinical.numeric = ("age", "nihss", "bmi")
    config.clinical.categorical = ConfigDict({"sex": ("F", "M"), "prior_stroke": ("0", "1")})
    config.text.atlas = f"{DATA}/soop/atlas/ArterialAtlas136.nii.gz"
    config.evaluate.comparators.volume, config.evaluate.comparators.territories = "lesion", True
    config.evaluate.comparators.columns = ("red_pixels",)
    config.evaluate.subgroups = ("sex", "age", "race")
    config.model.fusion, config.split.inner_folds = "stacked", 3
    small(config)


def smoke(config):
    """The demo in seconds."""
    demo(config)
    config.cohort.synthetic.patients = 48
    config.cohort.synthetic.shape, config.cohort.synthetic.spacing = (6, 36, 36), (20.0, 5.7, 5.7)
    for name in config.images:
        config.images[name].shape, config.images[name].spacing = (8, 16, 16), (17.0, 12.8, 12.8)
    config.model.widths, config.model.hidden = (4, 8), 16
    config.text.width, config.text.depth, config.text.heads, config.text.intermediate = 16, 1, 2, 32
    config.text.vocabulary_size, config.text.length = 128, 48
    config.split.folds, config.train.epochs = 2, 3
    config.evaluate.bootstrap = 200


def small(config):
    """Networks and a schedule for a few hundred patients on two cores, and what keeps them from learning these by heart."""
    config.model.encoder, config.model.widths, config.model.hidden = "resnet_small_3d", (8, 16, 32), 32
    config.text.width, config.text.depth, config.text.heads, config.text.intermediate = 32, 1, 4, 64
    config.text.ordered, config.align.most_words = False, 72
    config.text.dropout, config.text.unread, config.model.modality_dropout, config.model.dropout = 0.0, 0.2, 0.2, (0.0, 0.5)
    config.optimizer.learning_rate, config.optimizer.weight_decay = 1e-3, 1.0
    config.train.epochs, config.train.patience = 15, 6


VARIANTS = {"paper": paper, "own": own, "llm": llm, "demo": demo, "soop": soop, "smoke": smoke}
