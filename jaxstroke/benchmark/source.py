"""What a benchmark takes its batches from."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Batches by the number of a step.

    fitted         numbers fitted on the training rows, of one run
    take           step number -> batch, leading axes `run accumulation b`
    lengths        of batches that are cut to several lengths, that of each step of an epoch, after which they come again; else ()
    patients       in such an epoch
    padded_share   of the images that such an epoch computes, those that nobody has
    read           whether batches come from records, so that a step may wait for its own
    """

    fitted: dict
    take: Callable
    lengths: tuple[int, ...] = ()
    patients: int = 0
    padded_share: float = 0.0
    read: bool = False

    @property
    def shapes(self) -> dict[int, float]:
        """A step of every shape of a batch, that of the longest first, and the share of all steps that have its shape."""
        if not self.lengths:
            return {0: 1.0}
        counts = Counter(self.lengths)
        return {self.lengths.index(length): counts[length] / len(self.lengths) for length in sorted(counts, reverse=True)}

    @property
    def longest(self) -> int:
        """The step whose shape stands for all where one must."""
        return next(iter(self.shapes))

    def rows(self, batch: int) -> float:
        """Patients in a mean step, whose batches have this many rows: the last of a length may not be full."""
        return batch if not self.lengths else self.patients / len(self.lengths)

    def steps(self, wanted: int) -> int:
        """At least that many steps, and whole epochs of batches of several lengths."""
        return wanted if not self.lengths else -(-wanted // len(self.lengths)) * len(self.lengths)
