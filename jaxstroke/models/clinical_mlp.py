"""Clinical columns only: the network that images must beat, on the same loop."""

import flax.linen as nn
import jax.numpy as jnp

from jaxstroke.models import heads
from jaxstroke.models.encoders import clinical


class ClinicalMLP(nn.Module):
    """Two hidden layers and a head a task; see `jaxstroke.models.build` for what goes in and comes out."""

    units: int
    dropout: tuple[float, float]
    tasks: dict[str, int]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys = batch["key"] if train else None
        x = clinical.clinical_input(batch, fitted)
        x = clinical.ClinicalEncoder(self.units, self.dropout, self.dtype, name="encoder")(x, keys)
        return {"logits": heads.Heads(self.tasks, name="heads")(x), "features": {"clinical": x}, "parts": {}}


def build(config, dtype) -> ClinicalMLP:
    return ClinicalMLP(config.model.hidden, tuple(config.model.dropout), heads.sizes(config), dtype)
