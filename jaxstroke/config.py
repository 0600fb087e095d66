"""Every config key with its default and unit. A file in `configs/` starts from `base()` and states what its paper changes.

Sections: cohort, images, clinical, split, model, loss, optimizer, train, pretrain, text, align, evaluate, device, explain, benchmark,
variants. No key is optional and none is added elsewhere: a misspelt `--config.x.y` is an error that names the nearest key.
"""

from ml_collections import ConfigDict

from jaxstroke.config_images import image as image  # a config file needs this module alone
from jaxstroke.config_model import model
from jaxstroke.config_text import text
from jaxstroke.config_training import training
from jaxstroke.config_variants import variants as variants

MISSING = ("", "n/a", "N/A", "na", "NA", "nan", "NaN", "null", "NULL", "None")

# What may differ from the trained config when a workdir is used again (design: a trained workdir is self-contained).
MAY_DIFFER = (
    "cohort.root", "cohort.table", "cohort.records", "cohort.workers", "evaluate.bootstrap", "evaluate.batch_size", "evaluate.comparators",
    "evaluate.attainable", "evaluate.subgroups", "evaluate.subgroup_bounds", "device", "benchmark", "explain",
    "train.save_seconds", "variants", "text.llm.url", "text.llm.key", "text.llm.seconds", "text.llm.attempts", "text.llm.at_once",
    "text.llm.budget", "text.llm.cache",
)  # fmt: skip
ALIGNED = "trimodal_align"  # the network that reads reports, and aligns them with images
COLUMNS_ALONE = ("clinical_mlp", "tabular_dnn")  # networks that see no image


def base() -> ConfigDict:
    """Every key with its default. Times are seconds, lengths millimetres, angles degrees, shares 0 to 1."""
    config = ConfigDict()
    config.cohort = ConfigDict(
        {
            # who writes the table: table (you) | synthetic | synthetic_ich | synthetic_ct_jpg | synthetic_retina
            # | synthetic_reports | soop | ist | csic_ich | medmnist3d
            "recipe": "table",
            "root": "",  # folder of a public cohort, as published
            "table": "",  # CSV: one row a (patient, study)
            "records": "",  # folder or bucket of prepared records; "" = `records` beside the workdir
            "id": "patient_id",  # column
            "study": "",  # column, "" = one study a patient
            "group": "",  # column with the centre, "" = none
            "text": "",  # column with a report, "" = none
            "missing": MISSING,  # cells that mean missing
            # task: (column, rule, value); rules > >= < <= == in ordinal (cut-offs that rise or fall),
            # classes (each patient has one of these: words or numbers), contains (a name in a cell such as "bleeding|infarct")
            # or within: (column with the event's date, "within", (column with the start, column with the end of follow-up, days))
            "outcomes": ConfigDict(),
            "ranges": ConfigDict(),  # column: (lowest, highest) valid value
            "complete": (),  # columns or images without which a patient is left out
            "max_failed_share": 0.1,  # of patients with a file that cannot be used; more stops the run
            "workers": 0,  # processes that prepare, 0 = every core
            "reference": "",  # image whose grid the registered ones are resampled onto
            "min_overlap": 0.3,  # of the smaller brain mask, below which two modules are not registered
            "dicom": {
                "series": "choose",  # of several in a folder: choose (axial first, then thin slices, then the largest) | refuse
                "tilt": "correct",  # of a gantry: correct (slices moved back, linear interpolation) | refuse
                "gap": 15.0,  # mm between neighbouring slices at most, more is refused; uneven ones are resampled
            },
            "synthetic_retina": {"unlabelled": 2400, "labelled": 400, "test": 1200, "size": 64},  # patients; pixels an axis
            "medmnist3d": {"size": 28},  # voxels an axis, 28 | 64: which of a set's files is read
            "synthetic": {
                "patients": 240,
                "seed": 0,
                "shape": (12, 64, 64),  # voxels z, y, x
                "spacing": (10.0, 3.2, 3.2),  # mm
                "missing_share": 0.2,  # of patients without one of their modules (of synthetic and synthetic_reports)
            },
        }
    )
    config.images = ConfigDict()
    config.clinical = ConfigDict(
        {
            "numeric": (),
            "categorical": ConfigDict(),  # column: levels, () = the table's
            "codes": ConfigDict(),  # column of ICD-10 codes, as I10|E11.9: chapters | blocks, into which they are grouped
        }
    )
    config.split = ConfigDict(
        {
            "kind": "kfold",  # kfold | given | group | temporal | official
            "folds": 5,
            "repeats": 1,
            "inner_share": 0.2,  # of the training patients, for early stopping, threshold and recalibration
            "inner_folds": 3,  # for stacked fusion; 0 where no fusion is fitted
            "seed": 0,
            "column": "",  # for given, temporal and official
            "stratify": "",  # task
            "labelled": 0,  # training patients whose labels are used, drawn by the run's seed; 0 = all
        }
    )
    model(config)
    config.loss = ConfigDict()  # task: {kind: binary | ordinal | classes, weight}
    training(config)
    text(config)
    config.evaluate = ConfigDict(
        {
            "bootstrap": 2000,
            "batch_size": 32,  # patients a forward pass
            "comparators": {
                "clinical": True,  # logistic regression on the clinical columns
                "penalty": 0.3,  # its C (L2)
                "volume": "",  # image whose volume is added to it: a lesion mask
                "territories": False,  # and the share of each territory of `text.atlas` that `text.mask` covers, in a third regression
                "territory_penalty": 0.05,  # its C
                "columns": (),  # columns of the table scored as they are: a reader, a score
            },
            "per": "study",  # what is scored: study (every row of the table) | patient (mean log-odds of a patient's rows)
            "primary": "",  # task of the report's headline, and what splits are stratified on unless `split.stratify` names another
            "attainable": "",  # column with the true log-odds (synthetic cohorts)
            "censoring": "exclude",  # patients lost before the horizon of a rule `within`: exclude | weights (others stand in for them)
            "subgroups": (),  # columns of the table by whose values the report scores patients apart; the centre, `cohort.group`, always is
            "subgroup_bounds": ConfigDict(),  # column with numbers: where it is cut, as (65, 80); numeric clinical ones else at the median
        }
    )
    config.device = ConfigDict(
        {
            "run": 1,  # devices that train different runs at the same time
            "data": 0,  # devices that share a batch, 0 = all that are left
            "space": 1,
            "processes": 1,  # that train together, one a host: 1 | 0 = all that the cluster started (TPU slice, Slurm, Open MPI)
            "coordinator": "",  # host:port of process 0, where no cluster names it
            "process": 0,  # number of this one, where no cluster gives it
            "cache": "~/.cache/jaxstroke",  # compiled programs; "" = none
            "convolution": "auto",  # form: auto (by platform) | native | products | space_to_depth
        }
    )
    config.explain = ConfigDict(
        {
            # grad_cam | guided_backpropagation | guided_grad_cam | integrated_gradients | occlusion; one or several
            "method": ("grad_cam",),
            "head": "",  # task, or one of its classes; "" = `evaluate.primary`
            "image": "",  # "" = every image that the network sees
            "layer": "",  # of grad_cam: end of its path in the network, "" = one that still knows where things are
            "patients": (),  # ids of the table, () = the first ones
            "most": 3,  # patients, where none are named
            "steps": 64,  # of integrated_gradients
            "patch": (4, 8, 8),  # stored voxels (s, h, w) that occlusion hides at a time
            "stride": (2, 4, 4),  # and by which it moves on
            "cut": 0.45,  # share of a map's range below which nothing is drawn over the image (paper 3)
            "words": 12,  # of a report: those that look most at one place are shown where they look, 0 = none
        }
    )
    config.benchmark = ConfigDict(
        {
            # train (forward, backward, update) | predict (forward) | compile (the training step is planned, and never runs: will it fit?)
            # | feed (records to the device, nothing computed)
            "kind": "train",
            "source": "synthetic",  # synthetic (arrays made on the device) | records (the config's cohort through the feed)
            "steps": 20,  # timed
            "warmup": 3,  # before them
        }
    )
    config.variants = ConfigDict()  # name: {key: value}, what --mode compare runs; see `variants`; empty: `compare.ablations`
    return with_short_names(config)


def with_short_names(config) -> ConfigDict:
    """The config with `init_from` at the top too: one value under two names, whichever a user sets."""
    if "init_from" in config.model:
        config.init_from = config.model.get_ref("init_from")
    return config


def image_names(config) -> tuple[str, ...]:
    """The images the network sees, in order; none of a network of columns alone."""
    blind = config.model.name in COLUMNS_ALONE or (config.model.name == ALIGNED and "image" not in config.model.modalities)
    return () if blind else tuple(config.model.images) or tuple(config.images)


def module_names(config) -> tuple[str, ...]:
    """The parts of a network that a merge outside of it reads."""
    return ("trimodal",) if config.model.name == ALIGNED else image_names(config)


def reads(config) -> bool:
    """Whether the network reads reports."""
    return config.model.name == ALIGNED and "text" in config.model.modalities


def precomputes(config) -> bool:
    """Whether what it reads of them was computed before, by an encoder that does not learn."""
    return reads(config) and config.text.precomputed


def finds(config) -> bool:
    """Whether a lesion mask's findings are wanted: of reports, or of the comparator with territories."""
    return bool(config.text.mask) and (config.text.source in ("template", "llm") or config.evaluate.comparators.territories)


def pretrains(config) -> bool:
    """Whether encoders are pre-trained without labels first."""
    return "pretrain" in config.train.stages


def pretrains_alone(config) -> bool:
    """Whether nothing else is done: no task is learned, and nobody is scored."""
    return tuple(config.train.stages) == ("pretrain",)


def staged(config) -> bool:
    """Whether `train.stages` is of a network that can be pre-trained: patients without outcome are prepared for it then."""
    return not isinstance(config.train.stages, str)


def clinical_columns(config) -> tuple[str, ...]:
    """Every clinical column of the config, in the order of the schema: numbers, levels, diagnosis codes."""
    return (*config.clinical.numeric, *config.clinical.categorical, *config.clinical.codes)


def clinical_names(config) -> tuple[str, ...]:
    """The clinical columns the network sees, numeric ones first: the order of the schema, whatever the order in `model.clinical`."""
    return tuple(name for name in clinical_columns(config) if not config.model.clinical or name in config.model.clinical)


def prepared_names(config) -> tuple[str, ...]:
    """The images that are prepared: those seen by the network or in pre-training, the reference, and the one whose volume is compared."""
    wanted = {*image_names(config), config.cohort.reference, config.evaluate.comparators.volume}
    wanted |= {config.text.mask, *config.text.signals} if finds(config) else set()
    wanted |= {config.text.llm.image} if config.text.source == "llm" else set()
    wanted |= {*(config.pretrain.images or config.images)} if pretrains(config) else set()
    return tuple(name for name in config.images if name in wanted)


def subgroup_names(config) -> tuple[str, ...]:
    """The columns by which patients are scored apart, the centre last."""
    centre = (config.cohort.group,) if config.cohort.group else ()
    return tuple(dict.fromkeys((*config.evaluate.subgroups, *centre)))


def task_names(config) -> tuple[str, ...]:
    """The tasks, the primary one first (a ConfigDict keeps its keys sorted)."""
    primary = config.evaluate.primary
    return (primary, *(task for task in config.loss if task != primary))
