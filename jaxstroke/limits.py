"""What each value of a config may be, as tables: `ranges` holds a config to them.

Upper bounds are far above what anyone trains with: they catch a digit too many, not a choice.
"""

TINY = 1e-12
SEED = (0, 2**31 - 1)
RANGES = {
    "cohort.workers": (0, 1024), "cohort.min_overlap": (0, 1), "cohort.synthetic.patients": (1, 10**6), "cohort.synthetic.seed": SEED,
    "cohort.synthetic_retina.unlabelled": (0, 10**6), "cohort.synthetic_retina.labelled": (1, 10**6),
    "cohort.synthetic_retina.test": (1, 10**6), "cohort.synthetic_retina.size": (32, 1024), "cohort.medmnist3d.size": (1, 512),
    "cohort.dicom.gap": (0.1, 1000),
    "cohort.synthetic.missing_share": (0, 1), "split.folds": (1, 1000), "split.repeats": (1, 1000), "split.inner_folds": (0, 1000),
    "split.seed": SEED, "split.labelled": (0, 10**9), "model.hidden": (0, 4096), "pretrain.temperature": (1e-3, 10),
    "pretrain.batch_size": (2, 2**16), "pretrain.epochs": (1, 10**5), "pretrain.learning_rate": (TINY, 1e3),
    "pretrain.weight_decay": (0, 1e3), "pretrain.warmup": (0, 1), "pretrain.ratio": (1, 4), "pretrain.flip": (0, 1),
    "pretrain.rotate": (0, 45), "pretrain.brightness": (0, 1), "pretrain.contrast": (0, 0.99),
    "model.fusion_penalty": (TINY, 1e12), "optimizer.learning_rate": (TINY, 1e3),
    "optimizer.weight_decay": (0, 1e3), "optimizer.epsilon": (1e-30, 1), "optimizer.trust": (TINY, 1e3), "optimizer.clip": (0, 1e9),
    "optimizer.encoder_rate": (0, 1e3), "optimizer.text_rate": (0, 1e3), "optimizer.layer_decay": (0.01, 1),
    "optimizer.warmup": (0, 1), "train.batch_size": (1, 2**16), "train.accumulation": (1, 2**16), "train.epochs": (1, 10**5),
    "train.patience": (1, 10**9), "train.ahead": (1, 1024), "train.save_seconds": (0, 1e9), "train.augment.flip": (0, 1),
    "train.augment.rotate": (0, 180), "train.augment.rotate_share": (0, 1), "train.augment.zoom": (0.1, 10),
    "train.augment.zoom_share": (0, 1), "train.augment.noise": (0, 1e3), "train.augment.noise_share": (0, 1),
    "optimizer.plateau_factor": (TINY, 1), "optimizer.plateau_patience": (0, 10**9), "device.processes": (0, 2**16),
    "device.process": (0, 2**16), "train.augment.shift": (0, 1), "train.augment.intensity": (0, 1), "evaluate.bootstrap": (1, 20_000),
    "evaluate.batch_size": (1, 2**16), "evaluate.comparators.penalty": (TINY, 1e12),
    "evaluate.comparators.territory_penalty": (TINY, 1e12), "device.run": (1, 2**16), "device.data": (0, 2**16),
    "device.space": (1, 2**16), "benchmark.steps": (1, 10**6), "benchmark.warmup": (0, 10**6),
    "text.vocabulary_size": (16, 2**17), "text.length": (4, 512), "text.positions": (4, 4096),
    "text.width": (4, 4096), "text.depth": (1, 48), "text.heads": (1, 64),
    "text.intermediate": (4, 2**15), "text.llm.slices": (1, 16), "text.llm.temperature": (0, 2), "text.llm.seconds": (0.1, 3600),
    "text.llm.attempts": (1, 20), "text.llm.at_once": (1, 256), "text.llm.budget": (0, 10**7), "align.report": (0, 1e3),
    "align.words": (0, 1e3), "align.clinical": (0, 1e3), "align.matching": (0, 1e3), "align.own": (0, 1e3),
    "align.most_words": (1, 512), "align.temperature": (1e-3, 10),
    "explain.most": (1, 10**6), "explain.steps": (1, 10**5), "explain.cut": (0, 1), "explain.words": (0, 512),
}  # fmt: skip
PATHS = (
    "cohort.root", "cohort.table", "cohort.records", "model.init_from", "device.cache", "text.atlas", "text.territories", "text.vocabulary",
    "text.init_from", "text.llm.prompt", "text.llm.cache",
)  # fmt: skip
BELOW_ONE = (
    "text.dropout", "text.unread", "model.modality_dropout", "optimizer.momentum", "model.drop_path", "train.smoothing",
    "split.inner_share", "cohort.max_failed_share",
)  # fmt: skip
# Key: type, range and least and largest number of entries of a tuple.
TUPLES = {
    "cohort.missing": (str, None, 0, 1000), "cohort.complete": (str, None, 0, 1000), "cohort.synthetic.shape": (int, (4, 4096), 3, 3),
    "cohort.synthetic.spacing": (float, (0.01, 1000), 3, 3), "clinical.numeric": (str, None, 0, 10_000),
    "model.images": (str, None, 0, 1000), "model.clinical": (str, None, 0, 10_000), "model.widths": (int, (1, 4096), 1, 16),
    "pretrain.images": (str, None, 0, 1000), "pretrain.projector": (int, (1, 2**16), 2, 2), "pretrain.crop": (float, (0.01, 1), 2, 2),
    "model.modalities": (str, None, 1, 3), "text.signals": (str, None, 0, 100),
    "model.dropout": (float, (0, 0.999), 2, 2), "model.fusion_clip": (float, (0, 1), 2, 2),
    "optimizer.betas": (float, (0, 0.999999999), 2, 2), "train.seeds": (int, SEED, 1, 1000), "train.buckets": (int, (1, 32768), 0, 3),
    "evaluate.comparators.columns": (str, None, 0, 1000), "evaluate.subgroups": (str, None, 0, 1000),
    "explain.method": (str, None, 1, 10), "explain.patients": (str, None, 0, 10**6),
    "train.stages": (str, None, 1, 2), "explain.patch": (int, (1, 32768), 3, 3),
    "explain.stride": (int, (1, 32768), 3, 3),
}  # fmt: skip
EITHER = ("train.stages",)  # text or a tuple
OPEN = (
    "cohort.outcomes", "cohort.ranges", "images", "clinical.categorical", "clinical.codes", "loss", "model.fusion_upper",
    "train.augment.skip", "evaluate.subgroup_bounds", "variants",
)  # fmt: skip
CODES = ("chapters", "blocks")  # of cohort.icd10.GROUPS: what diagnosis codes are grouped into
IMAGE_TUPLES = {"shape": (int, (1, 32768), 3, 3), "spacing": (float, (0, 1000), 3, 3), "window": (float, (-1e15, 1e15), 2, 2)}
SHARES = (  # those that give 0 to 1
    "window", "window_erased", "ct_windows", "scale", "percentile", "mask", "mask_log", "photograph", "photograph_unpainted",
)  # fmt: skip
IMAGE_CHOICES = {
    "kind": ("sequence", "volume"),
    "axis": ("slice", "time"),
    "sampling": ("grid", "resize", "pad", "picture"),
    "part": ("scans", "infrared"),
    "pick": ("even", "central"),  # of preprocess.pictures.PICK
    "dtype": ("int16", "uint8"),
    "channels": (1, 3),
    "normalise": ("none", "zscore", *SHARES),  # of preprocess.normalise.NORMALISE
}
PICTURES = ("photograph", "photograph_unpainted", "window", "ct_windows")  # what pictures may be normalised by
WINDOWED = ("window", "window_erased", "scale")  # those that read `window`
