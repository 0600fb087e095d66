"""The config of the pre-training stage, and what its result hangs on. Imports nothing that reads or writes files: it is benchmarked too."""

from jaxstroke import config_json
from jaxstroke import workdir as work

OF_OPTIMIZER = ("name", "learning_rate", "weight_decay", "warmup")
OF_TRAIN = ("batch_size", "epochs")
# What a pre-training hangs on: of its config whole sections, and of `model` and `train` these.
SECTIONS = ("images", "pretrain", "optimizer")
OF_MODEL = ("encoder", "norm", "widths", "dropout", "pool", "drop_path", "standardise", "init_from")
OF_LOOP = ("dtype",)


def config_of(config):
    """The stage's config: the loop reads what it always reads, from `pretrain`."""
    stage = config_json.copied(config)
    with stage.unlocked():
        stage.model.update({"name": "retina_simclr", "images": config.pretrain.images or tuple(config.images), "fusion": "none"})
        stage.train.update({name: config.pretrain[name] for name in OF_TRAIN})
        stage.train.update({"accumulation": 1, "watch": "last", "imbalance": "none", "buckets": ()})
        stage.optimizer.update({name: config.pretrain[name] for name in OF_OPTIMIZER})
        stage.optimizer.update({"schedule": "cosine", "encoder_rate": 1.0, "layer_decay": 1.0})
        stage.evaluate.update({"batch_size": config.pretrain.batch_size, "primary": ""})
        stage.loss = type(stage.loss)()
        with stage.train.ignore_type():
            stage.train.stages = ("pretrain",)
    return stage


def key(config) -> str:
    """A digest of what the pre-trained encoders hang on, but for the patients."""
    values = config_json.to_json(config_of(config))
    parts = {"model": OF_MODEL, "train": OF_LOOP}
    found = {section: {name: values[section][name] for name in names} for section, names in parts.items()}
    return work.digest({name: values[name] for name in SECTIONS} | found | {"seed": values["train"]["seeds"][0]})
