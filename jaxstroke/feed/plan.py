"""Which rows make which step: one plan that every feed reads, a function of (seed, run, epoch) alone, so that a resumed run meets the
same batches as one that was never stopped."""

import numpy as np


def steps_an_epoch(rows: int, batch: int) -> int:
    """Updates an epoch; the last batch may be padded."""
    return max(1, -(-rows // batch))


def oversampled(rows: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`rows` with the rarer classes repeated until all are equally frequent. labels: of these rows, NaN = unknown, kept once."""
    classes = [rows[labels == value] for value in known(labels)]
    if len(classes) < 2:
        return rows
    most = max(map(len, classes))
    extra = [generator.choice(part, most - len(part)) for part in classes]
    return np.concatenate([rows, *extra])


def frequencies(labels: np.ndarray) -> np.ndarray:
    """`n`: how often each row is met on average once `oversampled` has balanced the classes. labels: NaN = unknown."""
    found = np.ones(len(labels))
    counts = {value: (labels == value).sum() for value in known(labels)}
    for value, count in counts.items():
        found[labels == value] = max(counts.values()) / count
    return found


def known(labels: np.ndarray) -> np.ndarray:
    """The different labels among these, rising."""
    return np.unique(labels[~np.isnan(labels)])


def shuffled(rows: np.ndarray, key: tuple[int, ...], labels: np.ndarray | None = None) -> np.ndarray:
    """The rows of an epoch in their order; arguments as in `epoch_rows`."""
    generator = np.random.default_rng(np.random.SeedSequence(key))
    if labels is not None:
        rows = oversampled(rows, labels, generator)
    return generator.permutation(rows)


def epoch_rows(rows: np.ndarray, batch: int, key: tuple[int, ...], labels: np.ndarray | None = None, bucket=None) -> np.ndarray:
    """The rows of one epoch, `steps batch`, shuffled and padded with -1.

    rows: the training rows of a run. batch: rows an update. key: (seed, run number, epoch).
    labels: of `rows`, to balance the classes by repeating the rarer; None leaves them as they are.
    bucket: rows -> number of the bucket of each; batches are then of one bucket, and come in an order of their own.
    """
    rows = shuffled(rows, key, labels)
    if bucket is None:
        return padded(rows, batch)
    numbers = bucket(rows)
    table = np.concatenate([padded(rows[numbers == number], batch) for number in np.unique(numbers)])
    return np.random.default_rng(np.random.SeedSequence((*key, 1))).permutation(table)


def padded(rows: np.ndarray, batch: int) -> np.ndarray:
    """`n -> steps batch`, in order, padded with -1."""
    steps = steps_an_epoch(len(rows), batch)
    out = np.full((steps, batch), -1, np.int32)
    out.reshape(-1)[: len(rows)] = rows
    return out
