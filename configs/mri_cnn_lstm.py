"""A CNN-LSTM per MRI module, merged by age or NIHSS: Hatami et al. 2022, arXiv 2205.05545 (EMBC 2022).

Published: AUC 0.77 for mRS > 2 on their own thrombectomy cohort, weighting by NIHSS; cohort and architecture details are not public.

    python -m jaxstroke.main --config configs/mri_cnn_lstm.py:VARIANT --workdir runs/VARIANT

| variant  | cohort                                                          | AUC of `poor`, 95 % interval; time on 2 cores   |
|----------|-----------------------------------------------------------------|-------------------------------------------------|
| demo     | 240 synthetic patients, DWI, ADC, FLAIR, Tmax, clinical columns | 0.835 (0.777 to 0.883), attainable 0.865; 3 min |
| smoke    | 48 of them, tiny                                                | runs, no more; 30 s                             |
| soop     | SOOP, 418 complete patients: `--config.cohort.root=FOLDER`      | 0.821 (0.779 to 0.860); 13 min                  |
| soop_all | SOOP, 538 with an outcome, modules masked where absent          | not measured in full                            |
| ist      | International Stroke Trial, clinical columns only               | 0.800 (0.793 to 0.808); 25 s                    |
| own      | your table: `--config.cohort.table=my.csv`                      | yours                                           |
| paper    | your table at the published size, 192 x 192 x 24, eight modules | 0.77 published, on its own cohort; needs a GPU  |

`--mode compare` sets each module alone and left out, every rule and clinical columns alone beside a variant: SOOP in 15 minutes.
`own` reads the columns patient_id, dwi, adc, flair, tmax (files), age, nihss, sex and mrs (0 to 6). A column of another name:
`--config.images.dwi.column=DWI_path`. Fewer modules: `--config.model.images="('dwi','adc')"`.

`--mode compare` sets beside each other every rule of the merge, each module alone and left out, and the clinical columns (not with ist).
"""

import os

from ml_collections import ConfigDict

from jaxstroke import config as settings

DATA = os.environ.get("JAXSTROKE_DATA", "../shared/data")  # where public cohorts lie, unless `cohort.root` says otherwise
MRS = {"poor": ("mrs", ">", 2), "mrs": ("mrs", "ordinal", (1, 2, 3, 4, 5, 6))}
ADC = {"normalise": "window", "window": (0.0, 3000e-6)}  # mm2/s
SECONDS = {"normalise": "window", "window": (0.0, 25.0)}  # Tmax, MTT
FLOW = {"normalise": "percentile"}  # CBF, CBV


def get_config(variant: str = "demo") -> ConfigDict:
    """The config of a variant, locked. Unknown variants raise with the list of known ones."""
    if variant not in VARIANTS:
        raise ValueError(f"configs/mri_cnn_lstm.py has no variant '{variant}'. Known: {', '.join(VARIANTS)}.")
    config = settings.base()
    config.cohort.outcomes = ConfigDict(MRS)
    config.cohort.ranges = ConfigDict({"mrs": (0, 6), "age": (0, 120), "nihss": (0, 42)})
    config.clinical.numeric = ("age", "nihss")
    config.clinical.categorical = ConfigDict({"sex": ()})
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}, "mrs": {"kind": "ordinal", "weight": 0.5}})
    config.evaluate.primary = "poor"
    config.evaluate.subgroups = ("sex", "age")
    config.evaluate.subgroup_bounds = ConfigDict({"age": (65, 80)})
    config.split.stratify = "poor"
    config.model.name = "mri_cnn_lstm"
    config.model.fusion = "poe"
    config.model.fusion_column = "nihss"
    config.model.fusion_upper = ConfigDict({"nihss": 42.0, "age": 100.0})
    VARIANTS[variant](config)
    return config.lock()


def paper(config):
    """The published size, defaults of the published family where the paper is silent."""
    config.images = ConfigDict(
        {
            "dwi": settings.image("dwi"), "adc": settings.image("adc", **ADC), "flair": settings.image("flair"), "t2": settings.image("t2"),
            "tmax": settings.image("tmax", **SECONDS), "mtt": settings.image("mtt", **SECONDS),
            "cbf": settings.image("cbf", **FLOW), "cbv": settings.image("cbv", **FLOW),
        }
    )  # fmt: skip
    config.cohort.reference = "dwi"
    config.split.repeats = 5
    config.train.imbalance = "weights"


def own(config):
    """A cohort of your own: four modules at a size that a laptop trains in an evening."""
    modules(config, shape=(16, 64, 64), spacing=(0.0, 3.2, 3.2))
    small(config)


def demo(config):
    """A synthetic cohort whose attainable AUC is known."""
    modules(config, shape=(8, 24, 24), spacing=(15.0, 8.5, 8.5))
    small(config)
    config.model.widths = (8, 16, 32)
    config.train.batch_size = 8
    config.train.epochs = 10
    config.optimizer.learning_rate = 3e-3
    config.cohort.recipe = "synthetic"
    config.model.fusion = "stacked"
    config.evaluate.comparators.volume = "lesion"
    config.evaluate.attainable = "true_logit"
    config.images.lesion = settings.image(
        "lesion", shape=(8, 24, 24), spacing=(15.0, 8.5, 8.5), normalise="mask", brain_mask="none", dtype="uint8"
    )
    config.model.images = ("dwi", "adc", "flair", "tmax")


def smoke(config):
    """The demo in seconds."""
    demo(config)
    config.cohort.synthetic.patients = 48
    config.cohort.synthetic.shape = (6, 32, 32)
    config.cohort.synthetic.spacing = (20.0, 6.4, 6.4)
    for name in config.images:
        config.images[name].shape = (4, 16, 16)
        config.images[name].spacing = (30.0, 12.8, 12.8)
    config.model.widths = (4, 8)
    config.model.hidden = 8
    config.split.folds = 2
    config.split.inner_folds = 2
    config.train.epochs = 3
    config.evaluate.bootstrap = 200


def soop(config):
    """The Stroke Outcome Optimization Project: lesions in MNI space and three painted FLAIR slices (OpenNeuro ds004889)."""
    config.cohort.recipe = "soop"
    config.cohort.root = f"{DATA}/soop"
    config.cohort.complete = ("lesion", "views", "age", "nihss")
    config.cohort.ranges.bmi = (5, 100)
    config.images = ConfigDict(
        {
            "lesion": settings.image(
                "lesion", shape=(12, 40, 40), spacing=(11.4, 4.8, 4.8), normalise="mask", register=False, brain_mask="none", dtype="uint8"
            ),
            "views": settings.image(
                "views", shape=(3, 48, 48), channels=3, normalise="photograph", register=False, brain_mask="none", dtype="uint8"
            ),
        }
    )
    config.clinical.numeric = ("age", "nihss", "bmi")
    config.clinical.categorical = ConfigDict({"sex": ("F", "M"), "prior_stroke": ("0", "1")})
    config.evaluate.comparators.volume = "lesion"
    config.evaluate.comparators.columns = ("red_pixels",)
    config.evaluate.subgroups = ("sex", "age", "race")
    small(config)
    config.model.fusion = "stacked"


def soop_all(config):
    """Every SOOP patient with an outcome; 120 of the 538 have neither lesion nor views."""
    soop(config)
    config.cohort.complete = ()


def ist(config):
    """The International Stroke Trial: the same loop without an image, dead or dependent at six months."""
    config.cohort.recipe = "ist"
    config.cohort.root = f"{DATA}/ist"
    config.cohort.outcomes = ConfigDict({"poor": ("dead_or_dependent", "==", 1)})
    config.cohort.ranges = ConfigDict({"age": (0, 120)})
    config.loss = ConfigDict({"poor": {"kind": "binary", "weight": 1.0}})
    config.clinical.numeric = ("rdelay", "age", "rsbp")
    deficits = [f"rdef{number}" for number in range(1, 9)]
    found = ("rconsc", "sex", "rsleep", "ratrial", "rct", "rvisinf", "rhep24", "rasp3", *deficits, "stype")
    config.clinical.categorical = ConfigDict(dict.fromkeys(found, ()))
    config.evaluate.subgroups = ("sex", "age", "country")
    config.model.name = "clinical_mlp"
    config.model.fusion = "none"
    config.model.fusion_column = ""
    config.model.fusion_upper = ConfigDict()
    config.model.hidden = 64
    config.model.dropout = (0.2, 0.2)
    config.split.inner_folds = 0
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.train.batch_size = 256
    config.train.epochs = 20
    config.train.patience = 5
    config.evaluate.batch_size = 1024


def modules(config, shape: tuple, spacing: tuple):
    """DWI, ADC, FLAIR and Tmax at one shape (s, h, w) and spacing in mm, on the grid of the DWI."""
    size = {"shape": shape, "spacing": spacing}
    config.images = ConfigDict(
        {
            "dwi": settings.image("dwi", **size),
            "adc": settings.image("adc", **ADC, **size),
            "flair": settings.image("flair", **size),
            "tmax": settings.image("tmax", **SECONDS, **size),
        }
    )
    config.cohort.reference = "dwi"


def small(config):
    """Half the published widths and a faster schedule, for a few hundred patients on two cores."""
    config.model.widths = (8, 16, 32, 64)
    config.model.hidden = 32
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.train.batch_size = 16
    config.train.epochs = 30
    config.train.patience = 10


VARIANTS = {"demo": demo, "smoke": smoke, "soop": soop, "soop_all": soop_all, "ist": ist, "own": own, "paper": paper}
