"""Patients with few images and with many: batches are cut to one of a few lengths, so that little is computed for images nobody has.

Rows of like length make a batch; a length is a shape, and so a compilation: there are few. What is cut off is padding alone.
"""

from dataclasses import dataclass

import numpy as np

from jaxstroke import config as settings


@dataclass(frozen=True)
class Buckets:
    """The lengths that batches have, rising, and the images of every row up to its last. image: the one that is cut."""

    image: str
    sizes: tuple[int, ...]
    lengths: np.ndarray

    def number(self, rows: np.ndarray) -> np.ndarray:
        """The bucket of each row; of padding (-1) the first."""
        return np.where(rows < 0, 0, np.searchsorted(self.sizes, self.lengths[np.maximum(rows, 0)]))

    def size(self, rows: np.ndarray) -> int:
        """The length that holds all of these rows."""
        return self.sizes[int(self.number(rows).max(initial=0))]

    def padded_share(self, table: np.ndarray) -> float:
        """Of the images that steps compute, the share that nobody has. table: `n ...` rows, -1 where there is none."""
        computed = sum(self.size(step) * step.size for step in table)
        there = sum(int(self.lengths[step[step >= 0]].sum()) for step in table)
        return 1 - there / computed if computed else 0.0


def make(config, arrays: dict[str, np.ndarray]) -> Buckets | None:
    """Those of `train.buckets` and of the longest sequence that is stored; None where the config names none."""
    if not config.train.buckets:
        return None
    (image,) = settings.image_names(config)
    mask = arrays[f"images_mask/{image}"] > 0  # n s
    lengths = np.where(mask.any(1), mask.shape[1] - np.argmax(mask[:, ::-1], 1), 0)
    return Buckets(image, (*config.train.buckets, mask.shape[1]), lengths)
