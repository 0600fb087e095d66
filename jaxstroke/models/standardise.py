"""Images as the weights that a network begins from have seen them: its first step, by `config.model.standardise`.

A step of the network and not of preparation: records stay 0 to 1 and serve every network, augmentation brings in black as it is at a
picture's border, and an explanation's baseline is black. Folded into the first convolution it would be wrong along the border, which that
pads with zeros after this step.
"""

import jax
import jax.numpy as jnp

# Mean and deviation a colour (red, green, blue) of the photographs of ImageNet, 0 to 1, which torchvision's weights expect taken off.
STANDARDS = {"none": None, "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


def standardised(x: jax.Array, name: str) -> jax.Array:
    """`n h w c`, 0 to 1, to `n h w 3` of mean 0 and deviation 1; a grey image takes the place of each colour. As it is by "none"."""
    if STANDARDS[name] is None:
        return x
    mean, deviation = (jnp.asarray(values, x.dtype) for values in STANDARDS[name])
    return (x - mean) / deviation
