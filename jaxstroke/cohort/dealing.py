"""Groups that must stay together (a patient, a centre), dealt into parts of given shares with the classes in proportion."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Rows of the cohort that stay together, and how many of them are of each class (None: unknown)."""

    rows: tuple[int, ...]
    classes: tuple[tuple[float | None, int], ...]


def join(units, labels, by_centre: bool = False, only: set[str] | None = None) -> list[Group]:
    """Units of one patient, and where asked of one centre, in one group; a patient seen in two centres joins them.

    Units without a centre are one centre: any of the others could be theirs. only: unit ids, default all.
    """
    parent: dict[tuple, tuple] = {}

    def root(key: tuple) -> tuple:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    chosen = [row for row, unit in enumerate(units) if only is None or unit.unit in only]
    for row in chosen:
        patient = root(("patient", units[row].patient))
        if by_centre:
            parent[patient] = root(("centre", units[row].group))
    members: dict[tuple, list[int]] = {}
    for row in chosen:
        members.setdefault(root(("patient", units[row].patient)), []).append(row)
    return [Group(tuple(rows), tuple(Counter(labels[row] for row in rows).items())) for rows in members.values()]


def deal(groups: list[Group], shares: tuple[float, ...], rng) -> list[list[Group]]:
    """Groups into one part a share, shuffled, the largest first, each to the part that lacks its classes most.

    The part is the one where the sum over classes of count**2 / share / total rises least, which is smallest when every class is divided as
    the shares; among equals the one with the fewest rows for its share.
    """
    total = Counter()
    for group in groups:
        total.update(dict(group.classes))
    counts = [Counter() for _ in shares]
    sizes = [0.0] * len(shares)
    parts: list[list[Group]] = [[] for _ in shares]
    shuffled = [groups[place] for place in rng.permutation(len(groups))]
    for group in sorted(shuffled, key=lambda group: -len(group.rows)):

        def rise(part: int, group=group) -> tuple[float, float, int]:
            squares = sum(n * (2 * counts[part][label] + n) / total[label] for label, n in group.classes)
            return (round(squares / shares[part], 9), round(sizes[part], 9), part)

        best = min(range(len(shares)), key=rise)
        counts[best].update(dict(group.classes))
        sizes[best] += len(group.rows) / shares[best]
        parts[best].append(group)
    return parts
