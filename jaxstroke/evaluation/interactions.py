"""Whether the network's AUC differs between groups of patients: a test of interaction for each column of `subgroups.csv`."""

import math

import numpy as np
from scipy.special import chdtrc

from jaxstroke.evaluation.auc import mean_influence
from jaxstroke.evaluation.delong import holm
from jaxstroke.evaluation.parts import Part, Task, restrict
from jaxstroke.evaluation.subgroups import UNKNOWN, enough, gathered, judged

FEW, APART = "fewer than two groups with enough patients", "no cut-off at which every group has enough patients"
SHARED, CERTAIN = "patients in two groups", "a group without variance"


def compute(task: Task, groups: dict[str, dict[str, set[str]]]) -> list[dict]:
    """A line for each column: {"task", "column", "groups", "chi2", "df", "p", "p_holm", "untested"}. groups: as of `subgroups.read`.

    `groups`: those with enough patients to be scored, without the patients of no known group. `p_holm`: corrected for the task's columns.
    Where no test is made, `untested` says why, and the numbers are None.
    """
    cuts = task.models[judged(task)]
    lines = []
    for column, named in groups.items():
        inside = {group: enough(restrict(cuts, units)) for group, units in gathered(task, named).items() if group != UNKNOWN}
        scored = {group: found for group, found in inside.items() if found}
        lines.append({"task": task.name, "column": column, "groups": list(scored)} | compared(scored, len(task.stratum)))
    adjusted = holm([line["p"] for line in lines])
    return [line | {"p_holm": p} for line, p in zip(lines, adjusted, strict=True)]


def compared(groups: dict[str, dict[str, list[Part]]], patients: int) -> dict:
    """{"chi2", "df", "p", "untested"}: heterogeneity of the groups' AUCs (Cochran 1954), weighted by one over their DeLong variances.

    groups: {group: {cut: parts}}, compared on the cut-offs that all have. Groups are of different patients, so that the AUCs do not
    covary, given the fitted models. A patient of two groups would make them: then no test is made.
    """
    if len(groups) < 2:
        return untested(FEW)
    common = set.intersection(*(set(cuts) for cuts in groups.values()))
    if not common:
        return untested(APART)
    if shared(groups):
        return untested(SHARED)
    found = [mean_of({cut: cuts[cut] for cut in cuts if cut in common}, patients) for cuts in groups.values()]
    variances = np.array([(values**2).sum() for _, values in found])
    if not (variances > 0).all():
        return untested(CERTAIN)
    chi2, df = heterogeneity(np.array([auc for auc, _ in found]), variances), len(groups) - 1
    return {"chi2": chi2, "df": df, "p": float(chdtrc(df, chi2)), "untested": ""}


def untested(why: str) -> dict:
    return {"chi2": None, "df": None, "p": None, "untested": why}


def heterogeneity(values: np.ndarray, variances: np.ndarray) -> float:
    """Chi-square of g independent estimates about their weighted mean, of g - 1 degrees of freedom if all estimate one number."""
    weights = 1 / variances
    return float((weights * (values - (weights * values).sum() / weights.sum()) ** 2).sum())


def shared(groups: dict[str, dict[str, list[Part]]]) -> bool:
    """Whether a patient is in two groups, with an eye or a visit in each."""
    members = [np.unique(np.concatenate([part.patient for parts in cuts.values() for part in parts])) for cuts in groups.values()]
    return len(np.unique(np.concatenate(members))) < sum(map(len, members))


def mean_of(cuts: dict[str, list[Part]], patients: int) -> tuple[float, np.ndarray]:
    """(AUC, influence of each patient): means over cut-offs, seeds and folds as in `auc.py`, then over repeats, of the same patients.

    A fold with one patient of the group on a side has an AUC but no variance: both are left out.
    """
    kept = {cut: [part for part in parts if 1 < (part.label > 0.5).sum() < len(part.label) - 1] for cut, parts in cuts.items()}
    repeats = sorted({part.repeat for parts in kept.values() for part in parts})
    found = [mean_influence(kept, repeat, patients) for repeat in repeats]
    if not found:
        return math.nan, np.full(patients, np.nan)
    return float(np.mean([auc for auc, _ in found])), np.mean([values for _, values in found], 0)
