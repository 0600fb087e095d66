"""ResNet v1.5 in two and three dimensions: He et al. 2016 (arXiv 1512.03385), as torchvision writes it.

Version 1.5: a bottleneck's stride lies in its 3 x 3 convolution, not in its first 1 x 1. Padding is PyTorch's, the same on both sides.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke.check_network import Takes
from jaxstroke.models import activation, pooling

HE = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
EXPANSION = 4  # of a bottleneck's channels in its last convolution


class Block(nn.Module):
    """A residual block: `n *space c -> n *space/stride width` (4 width of a bottleneck).

    zero_last: the scale of the last norm begins at 0, so that the block begins as the identity (Goyal et al. 2017, section 5.1).
    """

    width: int
    stride: int
    bottleneck: bool
    zero_last: bool
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        w, stride = self.width, self.stride
        plan = ((1, 1, w), (3, stride, w), (1, 1, EXPANSION * w)) if self.bottleneck else ((3, stride, w), (3, 1, w))
        y = x
        for number, (size, step, features) in enumerate(plan, 1):
            y = convolution(self.conv, features, size, step, f"conv{number}", y)
            y = self.norm(name=f"norm{number}")(y, mask, train)
            y = activation.relu(y) if number < len(plan) else y
        if self.zero_last:
            self.zero_scale(f"norm{len(plan)}")
        if x.shape != y.shape:
            x = convolution(self.conv, y.shape[-1], 1, stride, "shortcut_conv", x)
            x = self.norm(name="shortcut_norm")(x, mask, train)
        return activation.relu(x + y)

    def zero_scale(self, name: str):
        """Where variables are made, the scale of the norm of this name becomes 0."""
        if self.is_initializing():
            made = self.get_variable("params", name)
            self.put_variable("params", name, made | {"scale": jnp.zeros_like(made["scale"])})


class ResNet(nn.Module):
    """Named feature maps `n *space c` (stem, layer1, layer2 ...) and `pooled`, `n f` float32: the mean over space of the last.

    dims: 2 (`n h w c`) or 3 (`n d h w c`). blocks, widths: residual blocks and channels a layer; a bottleneck puts out four times as many.
    small: the stem is 3 an axis and no maximum follows it, for images of few voxels; else 7 and 3. conv, norm: see `encoders.make`.
    ValueError for an image of other axes, or below 8 an axis: the first layer would see a single voxel of it.
    """

    dims: int
    blocks: tuple[int, ...]
    bottleneck: bool
    conv: Callable
    norm: Callable
    widths: tuple[int, ...] = (64, 128, 256, 512)
    small: bool = False
    zero_last: bool = False
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask=None, keys=None, train: bool = False) -> dict[str, jax.Array]:
        """mask: `n`, 1 = a valid row, for the norm. keys: not used, a ResNet drops nothing."""
        refused = Takes("ResNet", self.dims, smallest=8).refusal(x.shape[1:-1])
        if refused:
            raise ValueError(f"n *space c = {x.shape}: {refused}")
        x = convolution(self.conv, self.widths[0], 3 if self.small else 7, 2, "stem_conv", x.astype(self.dtype))
        x = activation.relu(self.norm(name="stem_norm")(x, mask, train))
        x = x if self.small else pooling.max_pool(x, 3, 2, 1)
        features = {"stem": x}
        block = nn.remat(Block, static_argnums=(3,)) if self.remat else Block
        for layer, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            for number in range(count):
                stride = 2 if layer > 0 and number == 0 else 1
                settings = (width, stride, self.bottleneck, self.zero_last, self.conv, self.norm)
                x = block(*settings, name=f"layer{layer + 1}_{number}")(x, mask, train)
            features[f"layer{layer + 1}"] = x
        return features | {"pooled": x.mean(tuple(range(1, x.ndim - 1)), dtype=jnp.float32)}


def convolution(conv: Callable, features: int, size: int, stride: int, name: str, x: jax.Array) -> jax.Array:
    """A convolution of `size` an axis, padded by its half on both sides, He initialisation by fan out as torchvision."""
    dims = x.ndim - 2
    return conv(features, (size,) * dims, stride, ((size // 2,) * 2,) * dims, kernel_init=HE, name=name)(x)
