"""Vision transformers: Dosovitskiy et al. 2021 (arXiv 2010.11929), pre-norm, over patches of pictures or of volumes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxstroke.check_network import Takes
from jaxstroke.models import layers

EPSILON = 1e-6
DRAWN = nn.initializers.normal(0.02)  # class token and learned positions


class Layer(nn.Module):
    """Attention and a two-layer perceptron, each on a normed copy and added: `n t f -> n t f`. site: of its first dropout."""

    heads: int
    dropout: float
    site: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        n, t, f = x.shape
        y = norm(self.dtype, "norm1")(x)
        q, k, v = jnp.moveaxis(dense(3 * f, self.dtype, "qkv")(y).reshape(n, t, 3, self.heads, f // self.heads), 2, 0)
        y = jax.nn.dot_product_attention(q, k, v).reshape(n, t, f)  # its softmax is float32 whatever the dtype
        x = x + layers.dropout(dense(f, self.dtype, "out")(y), self.dropout, keys, self.site)
        y = nn.gelu(dense(4 * f, self.dtype, "up")(norm(self.dtype, "norm2")(x)), approximate=False)
        return x + layers.dropout(dense(f, self.dtype, "down")(y), self.dropout, keys, self.site + 1)


class VisionTransformer(nn.Module):
    """Named feature maps `n *grid f` (patches, layer1, ...) and `pooled`, `n f` float32: the normed mean of all patches, or class token.

    dims: 2 (`n h w c`) or 3 (`n d h w c`). token: a class token is added, and pooled is that. positions: sincos takes any size of image,
    learned the size of the first one only. Layer normalisation throughout, so it needs no mask and knows no mesh axis.
    ValueError for an image of other axes, or that does not divide into patches.
    """

    dims: int
    width: int
    depth: int
    heads: int
    patch: int = 16
    token: bool = False
    positions: str = "sincos"
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask=None, keys=None, train: bool = False) -> dict[str, jax.Array]:
        """keys: `n`, for dropout, or None. mask, train: not used, every row is by itself."""
        refused = Takes("a vision transformer", self.dims, smallest=self.patch, multiple=self.patch).refusal(x.shape[1:-1])
        if refused:
            raise ValueError(f"n *space c = {x.shape}: {refused}")
        grid = tuple(length // self.patch for length in x.shape[1:-1])
        x = dense(self.width, self.dtype, "embedding")(patches(x.astype(self.dtype), self.patch))  # n t f
        x = layers.dropout(self.placed(x, grid), self.dropout, keys, 0)

        def as_map(tokens):
            return tokens[:, int(self.token) :].reshape(-1, *grid, self.width)

        features = {"patches": as_map(x)}
        layer = nn.remat(Layer) if self.remat else Layer
        for number in range(self.depth):
            x = layer(self.heads, self.dropout, 2 * number + 1, self.dtype, name=f"layer{number + 1}")(x, keys)
            features[f"layer{number + 1}"] = as_map(x)
        x = norm(self.dtype, "norm")(x)
        return features | {"pooled": x[:, 0].astype(jnp.float32) if self.token else x.mean(1, dtype=jnp.float32)}

    def placed(self, x: jax.Array, grid: tuple[int, ...]) -> jax.Array:
        """Tokens `n t f` that know their place, behind a class token where one is asked for."""
        if self.token:
            first = self.param("token", DRAWN, (1, 1, self.width)).astype(self.dtype)
            x = jnp.concatenate([jnp.broadcast_to(first, (x.shape[0], 1, self.width)), x], 1)
        if self.positions == "learned":
            return x + self.param("positions", DRAWN, x.shape[1:]).astype(self.dtype)
        if self.positions == "sincos":
            return x + jnp.asarray(np.pad(sincos(grid, self.width), ((int(self.token), 0), (0, 0))), self.dtype)
        raise ValueError(f"positions = '{self.positions}' must be sincos or learned")


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
