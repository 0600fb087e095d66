"""Vision transformers: Dosovitskiy et al. 2021 (arXiv 2010.11929), pre-norm, over patches of pictures or of volumes."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.check_network import Takes
from jaxstroke.models import layers

EPSILON = 1e-6
DRAWN = nn.initializers.normal(0.02)  # class token and learned positions
POOLS = ("mean", "token", "token_mean")
PATHS = 1000  # sites of dropped rows begin here, behind those of dropout


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each on a normed copy and added: `n t f -> n t f`.

    site: of its first dropout. drop_path: probability that a row goes without what is added, each of the two by itself.
    """

    heads: int
    dropout: float
    drop_path: float
    site: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        n, t, f = x.shape
        y = norm(self.dtype, "norm1")(x)
        q, k, v = jnp.moveaxis(dense(3 * f, self.dtype, "qkv")(y).reshape(n, t, 3, self.heads, f // self.heads), 2, 0)
        y = jax.nn.dot_product_attention(q, k, v).reshape(n, t, f)  # its softmax is float32 whatever the dtype
        x = x + self.dropped(dense(f, self.dtype, "out")(y), keys, self.site)
        y = nn.gelu(dense(4 * f, self.dtype, "up")(norm(self.dtype, "norm2")(x)), approximate=False)
        return x + self.dropped(dense(f, self.dtype, "down")(y), keys, self.site + 1)

    def dropped(self, x: jax.Array, keys: jax.Array | None, site: int) -> jax.Array:
        return layers.dropped_rows(layers.dropout(x, self.dropout, keys, site), self.drop_path, keys, PATHS + site)


class VisionTransformer(nn.Module):
    """Named feature maps `n *grid f` (patches, layer1, ...) and `pooled`, `n f` float32.

    dims: 2 (`n h w c`) or 3 (`n d h w c`). pool: what is pooled,
        mean        the mean of all patches, each normed; no class token, and positions are sines, which take any size of image
        token       the class token, normed; positions are learned, for the size of the first image only
        token_mean  the norm of the mean of all patches; class token and positions as before (MAE's `global_pool`, He et al. 2021, and
                    so RETFound's, Zhou et al. 2023)
    drop_path: probability of the last layer that a row goes without what it adds, rising to that from 0 of the first (as timm's).
    Layer normalisation throughout, so it needs no mask and knows no mesh axis.
    ValueError for an image of other axes, or that does not divide into patches.
    """

    dims: int
    width: int
    depth: int
    heads: int
    patch: int = 16
    pool: str = "mean"
    dropout: float = 0.0
    drop_path: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask=None, keys=None, train: bool = False) -> dict[str, jax.Array]:
        """keys: `n`, for dropout and dropped rows, or None. mask, train: not used, every row is by itself."""
        refused = Takes("a vision transformer", self.dims, smallest=self.patch, multiple=self.patch).refusal(x.shape[1:-1])
        if refused:
            raise ValueError(f"n *space c = {x.shape}: {refused}")
        grid = tuple(length // self.patch for length in x.shape[1:-1])
        x = dense(self.width, self.dtype, "embedding")(patches(x.astype(self.dtype), self.patch))  # n t f
        x = layers.dropout(self.placed(x, grid), self.dropout, keys, 0)

        def as_map(tokens):
            return tokens[:, -math.prod(grid) :].reshape(-1, *grid, self.width)

        features = {"patches": as_map(x)}
        layer = nn.remat(Layer) if self.remat else Layer
        for number in range(self.depth):
            drop_path = self.drop_path * number / max(self.depth - 1, 1)
            x = layer(self.heads, self.dropout, drop_path, 2 * number + 1, self.dtype, name=f"layer{number + 1}")(x, keys)
            features[f"layer{number + 1}"] = as_map(x)
        return features | {"pooled": self.pooled(x)}

    def pooled(self, x: jax.Array) -> jax.Array:
        """Tokens after the last layer, `n t f -> n f` float32."""
        normed = norm(self.dtype, "norm")
        if self.pool == "mean":
            return normed(x).mean(1, dtype=jnp.float32)
        picked = x[:, 0] if self.pool == "token" else x[:, 1:].mean(1, dtype=jnp.float32)
        return normed(picked).astype(jnp.float32)

    def placed(self, x: jax.Array, grid: tuple[int, ...]) -> jax.Array:
        """Tokens `n t f` that know their place, behind a class token where one is asked for.

        Learned positions are `*grid f`, so that the grid of weights is known where they are brought onto another.
        """
        if self.pool not in POOLS:
            raise ValueError(f"pool = '{self.pool}' must be one of {', '.join(POOLS)}")
        if self.pool == "mean":
            return x + jnp.asarray(sincos(grid, self.width), self.dtype)
        x = x + self.param("positions", DRAWN, (*grid, self.width)).reshape(-1, self.width).astype(self.dtype)
        first = (self.param(name, DRAWN, (self.width,)) for name in ("token", "token_position"))
        first = jnp.broadcast_to(sum(first).astype(self.dtype), (x.shape[0], 1, self.width))
        return jnp.concatenate([first, x], 1)


def dense(features: int, dtype: jnp.dtype, name: str) -> nn.Dense:
    return nn.Dense(features, dtype=dtype, kernel_init=nn.initializers.xavier_uniform(), name=name)


def norm(dtype: jnp.dtype, name: str) -> nn.LayerNorm:
    """Layer normalisation, statistics in float32 and in two passes."""
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, use_fast_variance=False, name=name)


def patches(x: jax.Array, patch: int) -> jax.Array:
    """`n *space c -> n t (patch^dims c)`: a convolution whose stride is its size is a product with these."""
    n, *space, c = x.shape
    dims = len(space)
    x = x.reshape(n, *(part for length in space for part in (length // patch, patch)), c)
    outer, inner = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
    return x.transpose(0, *outer, *inner, 2 * dims + 1).reshape(n, -1, patch**dims * c)


def sincos(grid: tuple[int, ...], width: int) -> np.ndarray:
    """`t width`: sines and cosines of each axis in turn, an equal share of the channels each, zeros in what is left over."""
    half = width // (2 * len(grid))
    angles = np.indices(grid).reshape(len(grid), -1, 1) / 10000 ** (np.arange(half) / half)  # axes t half
    found = np.concatenate([np.sin(angles), np.cos(angles)], -1)
    found = np.concatenate(list(found), -1)
    return np.pad(found, ((0, 0), (0, width - found.shape[1]))).astype(np.float32)
