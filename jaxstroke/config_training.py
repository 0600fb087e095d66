"""The sections `optimizer`, `train` and `pretrain` of a config; see `config.base` for all other keys."""

from ml_collections import ConfigDict


def training(config: ConfigDict):
    """Add the sections, every key with its default."""
    config.optimizer = ConfigDict(
        {
            "name": "adamw",  # adamw | adamw_amsgrad (as PyTorch computes it) | sgd | lars
            "learning_rate": 1e-4,
            "weight_decay": 1e-4,  # share of the weights, times the learning rate; sgd and lars: through momentum, as part of the gradient
            "betas": (0.9, 0.999),  # of adamw's two moments
            "epsilon": 1e-8,  # added to the root of adamw's second moment
            "momentum": 0.9,  # of sgd and lars
            "nesterov": False,  # their momentum looked up one step ahead
            "trust": 0.001,  # lars: length of a layer's step of learning rate 1, as a share of its weights' norm
            "clip": 1.0,  # norm of a module's gradient, 0 = never
            "schedule": "constant",  # constant | cosine | plateau (falls when an epoch's training loss does not)
            "plateau_factor": 0.98,  # of the learning rate, each time
            "plateau_patience": 5,  # epochs without a better loss before that
            "warmup": 0.0,  # share of all updates
            "encoder_rate": 1.0,  # factor of the learning rate in the encoder; 0 = frozen, its norms' statistics and dropout too
            "text_rate": 1.0,  # factor in the text encoder; 0 = frozen
            "layer_decay": 1.0,  # factor of the encoder's learning rate from each of its layers (a ResNet's stages) to the one before
        }
    )
    config.train = ConfigDict(
        {
            "batch_size": 8,  # patients a micro-batch, over all devices
            "accumulation": 1,  # micro-batches an update
            "dtype": "auto",  # of the computation: auto (bfloat16 on GPU and TPU, float32 on CPU) | float32 | bfloat16
            "epochs": 100,
            "watch": "loss",  # which epoch is kept, best by: loss (smoothed, of validation) | balanced_accuracy (of `evaluate.primary`);
            # or last: no choice and no early stop, for a schedule that comes to rest by itself (cosine)
            "patience": 15,  # epochs without a better one, of each module
            "smoothing": 0.5,  # weight of the past in the watched validation loss
            "imbalance": "none",  # none | weights | oversample
            "feed": "auto",  # resident (the cohort in device memory) | grain (read from disk as it is needed) | auto (by free memory)
            "buckets": (),  # of ct_conv_lstm: lengths that batches are cut to, as (8, 16, 32); at most three, the last is the image's own
            "ahead": 4,  # batches that grain reads in advance, a thread each
            "seeds": (0,),
            "as_published": False,  # paper 3's code with its slips: see `training/published.py`
            "save_seconds": 60.0,  # between checkpoints, 0 = after every epoch
            # two (modules, then fusion on inner out-of-fold logits) | joint | some of ("pretrain", "finetune"), in this order
            "stages": "two",
            "augment": {
                "axes": "plane",  # flips and turns: plane (left-right, within slices) | volume (along and about all three axes)
                "flip": 0.5,  # probability of a flip, an axis
                "rotate": 10.0,  # degrees, uniform in +-
                "rotate_share": 1.0,  # of the patients
                "shift": 0.05,  # share of the image's side, uniform in +-; by whole voxels where nothing is rotated
                "zoom": 1.1,  # factor
                "zoom_share": 0.0,  # of the patients
                "intensity": 0.1,  # share, uniform in +-
                "noise": 0.0,  # deviation of Gaussian noise, in units of the prepared image
                "noise_share": 1.0,  # of the patients
                "skip": ConfigDict(),  # image: names of what is not done to it
            },
        }
    )
    config.pretrain = ConfigDict(
        {
            # Contrastive learning of encoders without labels (SimCLR, Chen et al. 2020); what is not here is as in `optimizer` and `train`.
            "images": (),  # () = all of config.images; an encoder each
            "transductive": False,  # learn from the patients of validation and test parts too; the report says so
            "temperature": 0.1,  # of NT-Xent
            "projector": (2048, 128),  # units before and after its last layer
            "cross_modal": False,  # the images of one row are positives of each other too
            "batch_size": 256,  # rows of the table, over all devices: all are contrasted with all
            "epochs": 200,
            "name": "adamw",  # as optimizer.name
            "learning_rate": 1e-4,
            "weight_decay": 1e-3,
            "warmup": 0.05,  # share of all updates; then a cosine to 0
            "crop": (0.3, 1.0),  # share of the area that a view shows
            "ratio": 1.33,  # a view's sides differ by this factor at most before it is stretched back
            "flip": 0.5,  # probability of a left-right flip
            "rotate": 15.0,  # degrees, uniform in +-
            "brightness": 0.2,  # added, share of the image's range, uniform in +-
            "contrast": 0.2,  # factor 1 +- this, about the view's mean
        }
    )
