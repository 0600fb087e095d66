"""The section `model` of a config; see `config.base` for all other keys."""

from ml_collections import ConfigDict


def model(config: ConfigDict):
    """Add the section, every key with its default."""
    config.model = ConfigDict(
        {
            "name": "",
            "encoder": "",  # of volumes or slices, one of models.encoders.ENCODERS; "" where a network has its own
            "norm": "batch",  # batch (masked, over all devices) | group
            "remat": False,  # compute a block's activations again in the backward pass: less memory, a third more work
            "images": (),  # the images the network sees, () = all
            "clinical": (),  # the clinical columns the network sees, () = all
            "scaling": "standard",  # of clinical columns over the training patients: standard (mean 0, deviation 1) | minmax (0 to 1)
            # .pth, .pt or .safetensors from which every run begins: a published PyTorch network, or of its encoder a ResNet's or a ViT's
            "init_from": "",  # "" = random
            "pool": "mean",  # of a transformer's tokens: mean (no class token) | token (the class token) | token_mean (of all but that)
            "drop_path": 0.0,  # of a transformer: probability that a row passes by its last layer; rises to that from 0 at the first
            # what pictures, prepared to 0 to 1, are moved to, of ct_conv_lstm and retina_simclr: none | imagenet | each (by its own mean
            "standardise": "none",  # and deviation)
            "widths": (16, 32, 64, 128),  # channels of the stages of a network's own encoder, or of `plain_2d` and `resnet_small_3d`
            "hidden": 64,  # units of the recurrent layer, or of a clinical network
            "sequence": "lstm",  # of ct_conv_lstm: lstm | gru | convlstm | attention | mean | max
            "dropout": (0.3, 0.5),  # before and after the recurrent layer; an encoder's own rate is the first
            "fusion": "none",  # poe | scalar | learned | mean | stacked | none; of retina_simclr: concat (with clinical columns) | none
            "fusion_column": "",  # clinical column whose value weights the modules
            "fusion_upper": ConfigDict(),  # clinical column: the value that means a weight of 1
            "fusion_clip": (0.02, 0.98),
            "fusion_penalty": 0.3,  # C of the L2 logistic of learned and stacked
            # of trimodal_align
            "modalities": ("image", "clinical", "text"),  # those that it sees
            "joined": "cross_attention",  # cross_attention (VDAFM) | concat (late) | two_tower (CLIP's, towers side by side)
            "conditioned": True,  # words are scaled and moved by what the image shows, before attention
            "modality_dropout": 0.1,  # probability that a row is trained without its text, and without its columns
        }
    )
