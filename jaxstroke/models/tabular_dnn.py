"""Paper 3's network of clinical columns, the tabular rival of its image networks (Cobo et al. 2024; papers' section 3.5).

Published with code: 42 columns, 64, ReLU, dropout 0.3, 32, ReLU, 16, ReLU, batch normalisation, one logit; numbers scaled to 0 to 1 over
the training patients (`model.scaling = minmax`).
Deviation: a flag for each column says whether it was missing, as in every network here; where nothing is missing they change nothing.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxstroke.models import activation, heads, layers, norm
from jaxstroke.models.encoders import clinical


class TabularDNN(nn.Module):
    """Three hidden layers and a head a task; see `jaxstroke.models.build` for what goes in and comes out."""

    tasks: dict[str, int]
    dropout: float = 0.3
    widths: tuple[int, ...] = (64, 32, 16)
    axis: str | None = "data"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys, mask = (batch["key"], batch["weight"]) if train else (None, None)
        x = clinical.clinical_input(batch, fitted)  # b 2k
        for number, width in enumerate(self.widths, start=1):
            kernel, bias = heads.pytorch(x.shape[-1])
            x = activation.relu(nn.Dense(width, dtype=self.dtype, kernel_init=kernel, bias_init=bias, name=f"dense{number}")(x))
            x = layers.dropout(x, self.dropout, keys, site=0) if number == 1 else x
        x = norm.BatchNorm(self.axis, dtype=self.dtype, name="norm")(x, mask, train)
        return {"logits": heads.Heads(self.tasks, "pytorch", name="heads")(x), "features": {"clinical": x}, "parts": {}}


def build(config, dtype) -> TabularDNN:
    return TabularDNN(heads.sizes(config), config.model.dropout[0], dtype=dtype)
