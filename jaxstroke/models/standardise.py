"""Images as an encoder expects them: a network's first step, by `config.model.standardise`.

A step of the network and not of preparation: records stay 0 to 1 and serve every network, augmentation brings in black as it is at a
picture's border, and an explanation's baseline is black. Folded into the first convolution it would be wrong along the border, which that
pads with zeros after this step.
"""

import jax
import jax.numpy as jnp

# Mean and deviation a colour (red, green, blue) of the photographs of ImageNet, 0 to 1, which torchvision's weights expect taken off.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FLAT = 0.01  # deviation, of an image of 0 to 1, below which it is not stretched further: one that is not there stays 0


def as_it_is(x: jax.Array) -> jax.Array:
    return x


def imagenet(x: jax.Array) -> jax.Array:
    """`n h w c`, 0 to 1, to `n h w 3` of mean 0 and deviation 1 over photographs; a grey image takes the place of each colour."""
    mean, deviation = (jnp.asarray(values, x.dtype) for values in IMAGENET)
    return (x - mean) / deviation


def each(x: jax.Array) -> jax.Array:
    """`n h w c` to mean 0 and deviation 1 of every image by itself."""
    centred = x - x.mean((1, 2, 3), keepdims=True)
    variance = jnp.square(centred).mean((1, 2, 3), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.maximum(variance, FLAT**2))


STANDARDS = {"none": as_it_is, "imagenet": imagenet, "each": each}


def standardised(x: jax.Array, name: str) -> jax.Array:
    """`n h w c`, 0 to 1, by a name of `STANDARDS`."""
    return STANDARDS[name](x)
