"""Two random views of every picture, for contrastive learning (papers' section 4.4): crop, flip, small rotation, brightness and contrast,
no colour. Draw, then apply; a key a row, so that views do not depend on how rows are spread over devices."""

import math

import jax
import jax.numpy as jnp

from jaxstroke.feed import augment


def two(batch: dict[str, jax.Array], keys: jax.Array, settings) -> dict[str, jax.Array]:
    """The batch with every image `b s h w c` as `b 2s h w c`: a view of each of its pictures, then another one; masks likewise.

    keys: `b`. settings: `config.pretrain`. Every picture of every view has a draw of its own.
    """
    found = dict(batch)
    for number, name in enumerate(name for name in sorted(batch) if name.startswith("images/")):
        x, mask = batch[name], f"images_mask/{name.removeprefix('images/')}"
        b, s, *space = x.shape
        each = jax.vmap(lambda key, number=number, s=s: jax.random.split(jax.random.fold_in(key, number), 2 * s))(keys)
        pictures = jnp.concatenate([x, x], 1).reshape(2 * b * s, *space)
        numbers = jax.vmap(lambda key: draw(key, settings))(each.reshape(-1))
        found[name] = apply(pictures, numbers, settings).reshape(b, 2 * s, *space)
        found[mask] = jnp.concatenate([batch[mask]] * 2, 1)
        found[name] *= found[mask][..., None, None, None]  # brightness must not light up what is not there
    return found


def draw(key: jax.Array, settings) -> dict[str, jax.Array]:
    """One view's numbers: size and start of the crop (shares of height and width), flip (0 or 1), angle (radians), brightness, contrast."""
    area, ratio, start, flip, angle, brightness, contrast = jax.random.split(key, 7)
    share = jax.random.uniform(area, (), minval=settings.crop[0], maxval=settings.crop[1])
    stretch = jnp.exp(jax.random.uniform(ratio, (), minval=-1.0) * math.log(settings.ratio) / 2)
    size = jnp.minimum(1.0, jnp.sqrt(share) * jnp.stack([1 / stretch, stretch]))
    return {
        "size": size,
        "start": jax.random.uniform(start, (2,)) * (1 - size),
        "flip": jax.random.bernoulli(flip, settings.flip).astype(jnp.float32),
        "angle": jax.random.uniform(angle, (), minval=-1.0) * math.radians(settings.rotate),
        "brightness": jax.random.uniform(brightness, (), minval=-1.0) * settings.brightness,
        "contrast": 1.0 + jax.random.uniform(contrast, (), minval=-1.0) * settings.contrast,
    }


def apply(x: jax.Array, numbers: dict[str, jax.Array], settings) -> jax.Array:
    """`n h w c -> n h w c`: turned, cropped and stretched back, flipped, its grey moved. numbers: of `draw`, each with a leading `n`.

    Brightness adds to the picture's own units, 1 of what is stored as 0 to 1. Contrast is about the view's mean.
    """
    if settings.rotate > 0:
        still = jnp.zeros((len(x), 2))
        x = augment.rotated(x[:, None], numbers["angle"], (2, 3), settings.rotate, still, 0.0)[:, 0]
    rows = crop_weights(numbers["size"][:, 0], numbers["start"][:, 0], x.shape[1])
    columns = crop_weights(numbers["size"][:, 1], numbers["start"][:, 1], x.shape[2])
    columns = jnp.where(numbers["flip"][:, None, None] > 0, columns[:, ::-1], columns)
    x = jnp.einsum("noh,nhwc->nowc", rows, x)
    x = jnp.einsum("npw,nowc->nopc", columns, x)
    mean = x.mean((1, 2, 3), keepdims=True)
    wide = (slice(None), None, None, None)
    return (x - mean) * numbers["contrast"][wide] + mean + numbers["brightness"][wide]


def crop_weights(size: jax.Array, start: jax.Array, length: int) -> jax.Array:
    """`n, n -> n length length`: a part of an axis stretched over all of it, linear between pixels. size, start: shares of the axis."""
    target = (jnp.arange(length) + 0.5) / length
    source = (start[:, None] + size[:, None] * target) * length - 0.5  # n length, in pixels
    source = jnp.clip(source, 0, length - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(source[..., None] - jnp.arange(length)))
