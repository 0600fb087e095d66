"""Paper 5: image, clinical columns and a generated report, aligned with the image (Chen et al. 2026; papers' section 5.3).

Public: the three modalities, what the image shows as condition of the text, attention both ways, and two losses that align them. All sizes,
the gate and the losses' form are config fields with the defaults of papers' section 5.3.
"""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxstroke import config as settings
from jaxstroke.check_network import encoder_of
from jaxstroke.check_reports import HEADS
from jaxstroke.models import activation, cross_attention, encoders, heads, layers, modalities, pairs
from jaxstroke.models.cross_attention import unit
from jaxstroke.models.encoders import clinical
from jaxstroke.models.layers import masked_mean
from jaxstroke.models.modalities import nothing, zeros

DROPPED = {"text": 310, "clinical": 311}  # sites of modality dropout
OWN = {"image": 210, "text": 211, "clinical": 212}  # of the dropout before a modality's own logits


class Trimodal(nn.Module):
    """See `jaxstroke.models.build` for what goes in and comes out; beside it what `training.alignment` reads: `aligned`, and `own`, the
    logits of each modality by itself.

    The features: `patient`, `b f`, what is merged; `attention/<image>`, `b t *grid`, where in the image each token of the report looks.
    images: by name, an `Image` but for its name. reader: of the report, called with the batch. merge: `CrossAttention` or `Late`.
    pool: a `Pool` but for its name. matched: whether reports are matched with images. local: how words are aligned with what they look
    at: contrast | cosine | "" (they are not); most_words: that a step contrasts. own: whether each modality has logits of its own, which
    are added to the merged ones. inner_dropout: in the encoder of columns; dropout: of what is merged.
    """

    images: dict[str, Callable]
    reader: Callable | None
    clinical: bool
    merge: Callable
    pool: Callable
    conditioned: bool
    matched: bool
    local: str
    most_words: int
    own: bool
    width: int
    dropped: float
    inner_dropout: float
    dropout: float
    temperature: float
    tasks: dict[str, int]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        keys = batch["key"] if train else None
        image, mask, grids = self.seen(batch, keys, train)
        said, said_mask = self.read(batch, fitted, keys)
        columns, known = self.records(batch, fitted, keys)
        there, told = mask.max(-1), said_mask.max(-1)
        v = masked_mean(image, mask)
        condition = cross_attention.Conditioned(self.conditioned, self.dtype, name="condition")
        plain, moved = condition(said, v, there)
        vectors = {"image": (v, there), "text": (self.pool(name="align_pool")(plain, said_mask), told), "clinical": (columns, known)}
        own = self.by_itself(vectors, keys) if self.own else {}
        shown = said_mask * self.kept("text", keys, told)[:, None]
        known = known * self.kept("clinical", keys, known)
        merge = self.merge(name="merge")
        merged, where = merge(image, mask, moved, shown, columns * known[:, None], keys)
        merged = jnp.concatenate([merged, there[:, None], shown.max(-1, keepdims=True), known[:, None]], -1)
        x = activation.relu(nn.Dense(self.width, dtype=self.dtype, name="head")(merged))
        logits = heads.Heads(self.tasks, name="heads")(layers.dropout(x, self.dropout, keys, site=200))
        for name, used in {"image": there, "text": shown.max(-1), "clinical": known}.items():
            if name in own:
                logits = jax.tree.map(lambda merged, added, used=used: merged + added * used[:, None], logits, own[name]["logits"])
        features = {"patient": x.astype(jnp.float32), **self.attention(where, grids)}
        aligned = self.aligned(vectors)
        if self.matched:
            aligned["matching"] = self.matching((image, mask), (plain, said_mask), batch, aligned, keys)
        if self.local:
            seen = (image, mask, v, there)
            aligned["words"] = self.found_again(condition, merge.look, seen, (said, said_mask), batch, aligned, keys)
        return {"logits": logits, "features": features, "parts": {}, "aligned": aligned, "own": own}

    def seen(self, batch: dict, keys, train: bool) -> tuple[jax.Array, jax.Array, dict]:
        """Tokens of all images `b n f`, which are there `b n`, and the grid of each image."""
        found, masks, grids = [], [], {}
        for name, network in self.images.items():
            shown = batch["weight"] if train else 1 + zeros(batch)
            tokens, there, grids[name] = network(name=name)(batch[f"images/{name}"], batch[f"images_mask/{name}"], shown, keys, train)
            found, masks = [*found, tokens], [*masks, there]
        if not found:
            return *nothing(batch, self.width, self.dtype), {}
        return jnp.concatenate(found, 1), jnp.concatenate(masks, 1), grids

    def read(self, batch: dict, fitted: dict, keys) -> tuple[jax.Array, jax.Array]:
        """Tokens of the report `b t f` and which are there `b t`."""
        if self.reader is None:
            return nothing(batch, self.width, self.dtype)
        x, mask = self.reader(name="text")(batch, fitted, keys)
        return nn.Dense(self.width, dtype=self.dtype, name="text_project")(x), mask

    def records(self, batch: dict, fitted: dict, keys) -> tuple[jax.Array, jax.Array]:
        """Columns `b f`, zeros of a row without any, and whether it has one, `b`."""
        if not self.clinical:
            tokens, mask = nothing(batch, self.width, self.dtype)
            return tokens[:, 0], mask[:, 0]
        known = batch["clinical_mask"].max(-1, initial=0.0)
        x = clinical.clinical_input(batch, fitted)
        x = clinical.ClinicalEncoder(self.width, (self.inner_dropout,) * 2, self.dtype, name="records")(x, keys)
        # Not normed: of a row whose units are all dropped a norm's gradient would be a thousand times the others'.
        return nn.Dense(self.width, dtype=self.dtype, name="records_project")(x) * known[:, None].astype(self.dtype), known

    def kept(self, name: str, keys, present: jax.Array) -> jax.Array:
        """`b`: 0 of rows that are trained without this modality, times 1 as dropout of modalities rescales nothing."""
        if keys is None or not self.dropped:
            return jnp.ones_like(present)
        drawn = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, DROPPED[name]), 1 - self.dropped))(keys)
        return drawn.astype(jnp.float32)

    def by_itself(self, vectors: dict, keys) -> dict[str, dict]:
        """{modality: {"logits", "present"}} of those that the network has; vectors: `b f` and which rows have it, `b`."""
        has, found = {"image": self.images, "text": self.reader, "clinical": self.clinical}, {}
        for name, (x, present) in vectors.items():
            if has[name]:
                x = layers.dropout(x, self.dropout, keys, OWN[name])
                found[name] = {"logits": heads.Heads(self.tasks, name=f"own_{name}")(x), "present": present}
        return found

    def attention(self, where: jax.Array, grids: dict) -> dict[str, jax.Array]:
        """`b t n` parted by image, each on its grid."""
        found, start = {}, 0
        for name, grid in grids.items():
            size = math.prod(grid)
            found[f"attention/{name}"] = where[..., start : start + size].reshape(*where.shape[:2], *grid)
            start += size
        return found

    def aligned(self, vectors: dict) -> dict:
        """What the losses of alignment read: {"report", "clinical": (`b f`, `b f`, `b`), "scale"}, and from below "words", "matching".

        vectors: by modality `b f` and which rows have it, `b`. Pairs of length 1, and whether a row has both. The report's words are not
        conditioned: one that holds the image's own vector would be aligned with it whatever it says.
        """
        (v, there), (report, told), (columns, known) = (vectors[name] for name in ("image", "text", "clinical"))
        of_image = unit(nn.Dense(self.width, dtype=self.dtype, name="align_image")(v))
        of_words = unit(nn.Dense(self.width, dtype=self.dtype, name="align_text")(report))
        of_columns = unit(nn.Dense(self.width, dtype=self.dtype, name="align_clinical")(columns))
        scale = jnp.exp(-self.param("log_temperature", nn.initializers.constant(math.log(self.temperature)), ()))
        return {
            "report": (of_image, of_words, there * told),
            "clinical": (of_image, of_columns, there * known),
            "scale": jnp.minimum(scale, 100.0),  # as CLIP's
        }

    def matching(self, image: tuple, words: tuple, batch: dict, aligned: dict, keys) -> tuple[jax.Array, jax.Array]:
        """The loss of matching each row, and its weight, `b`."""
        match, pair = pairs.Matcher(HEADS, self.dtype, name="match"), aligned["report"][-1]
        if keys is None:  # the network as a function of rows alone; nothing of a batch is compared
            return nn.softplus(-match(*image, *words)), pair
        return pairs.matching(match, image, words, batch, aligned), pair

    def found_again(self, condition, look, image: tuple, said: tuple, batch: dict, aligned: dict, keys) -> tuple[jax.Array, jax.Array]:
        """The loss of each row's words and what they look at, and its weight, `b`. Words of another are moved by the image they look at."""
        pair = aligned["report"][-1]
        seen = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="align_seen") if self.local == "contrast" else lambda x: x

        def score(image, mask, v, there, words, words_mask):
            moved = condition(words, v, there)[1]
            looked = jnp.einsum("btn,bnf->btf", look(moved, image, mask).astype(self.dtype), image)
            return pairs.found_again(moved, seen(looked), words_mask)

        if self.local == "cosine" or keys is None:
            return 1 - score(*image, *said), pair
        loss, any_other = pairs.contrast(score, image, pairs.some(*said, keys, self.most_words), batch, aligned)
        return loss, pair * any_other


class Module(nn.Module):
    """The network as the one module of a merge with clinical columns, made outside (`training/fusion.py`). network: a `Trimodal`."""

    part: str
    network: Callable

    @nn.compact
    def __call__(self, batch: dict, fitted: dict, train: bool = False) -> dict:
        outputs = self.network(name=self.part)(batch, fitted, train)
        return outputs | {"parts": {self.part: {"logits": outputs["logits"], "present": 1 + zeros(batch)}}}


def build(config, dtype) -> Trimodal | Module:
    sees = config.model.modalities

    def tokens(name: str) -> Callable:
        encoder = encoders.of_config(config, dtype, encoder_of(config, name))
        return functools.partial(modalities.Image, encoder, config.images[name].kind == "volume", config.model.hidden, dtype)

    pool = functools.partial(cross_attention.Pool, config.text.pool, HEADS, dtype)
    attending = functools.partial(cross_attention.CrossAttention, config.model.hidden, HEADS, pool, config.model.dropout[0], dtype)
    attends = config.model.joined == "cross_attention"
    network = functools.partial(
        Trimodal,
        images={name: tokens(name) for name in settings.image_names(config)},
        reader=modalities.reader(config, dtype) if "text" in sees else None,
        clinical="clinical" in sees and bool(settings.clinical_names(config)),
        merge=attending if attends else functools.partial(cross_attention.Late, pool),
        pool=pool,
        conditioned=config.model.conditioned and attends,
        matched=config.align.matching > 0,
        local=config.align.local if config.align.words > 0 else "",
        most_words=config.align.most_words,
        own=config.align.own > 0,
        width=config.model.hidden,
        dropped=config.model.modality_dropout,
        inner_dropout=config.model.dropout[0],
        dropout=config.model.dropout[1],
        temperature=config.align.temperature,
        tasks=heads.sizes(config),
        dtype=dtype,
    )
    return network() if config.model.fusion == "none" else Module(*settings.module_names(config), network)
