"""What the questions on the risk of bias are answered from, and counts that several of them need."""

from dataclasses import dataclass

import pandas as pd

from jaxstroke.evaluation.subgroups import FEWEST
from jaxstroke.evaluation.wording import few, kind_of, lead, report_source

YES, NO, UNCLEAR = "yes", "no", "unclear"


@dataclass(frozen=True)
class Answer:
    """verdict: yes (the better answer) | no | unclear. why: with the numbers, in whole sentences."""

    question: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Facts:
    """The files of a workdir. content: metrics.json; config: of run.json; cohort: cohort.json, {} without; frame: predictions.csv.

    folds: of splits.json, [] without. external: numbers of each external validation, as `wording.lead` gives them. task: the primary one.
    known: of an external validation, how many of its patients were in the training cohort, None where no file says.
    """

    content: dict
    config: dict
    cohort: dict
    frame: pd.DataFrame
    folds: list
    external: list
    task: str
    known: int | None = None

    @property
    def numbers(self) -> dict:
        """Of the main model on the primary task."""
        return lead(self.content, self.task)

    @property
    def outside(self) -> bool:
        """Whether this is itself an evaluation on other patients than those of the training."""
        return self.content["split"] == "external"


def section(facts: Facts, name: str) -> dict:
    """A section of the config, {} where it is absent."""
    return facts.config.get(name) or {}


def outcome_columns(facts: Facts) -> list[str]:
    return list(dict.fromkeys(rule[0] for rule in section(facts, "cohort").get("outcomes", {}).values()))


def clinical_columns(facts: Facts) -> list[str]:
    """Columns that are offered to the network."""
    clinical, chosen = section(facts, "clinical"), section(facts, "model").get("clinical")
    known = [*clinical.get("numeric", []), *clinical.get("categorical", {}), *clinical.get("codes", {})]
    return [name for name in known if not chosen or name in chosen]


def network_columns(facts: Facts) -> list[str]:
    """Columns that the network, or the merge of its images, reads."""
    model = section(facts, "model")
    name, fusion = model.get("name"), model.get("fusion", "none")
    if name == "ich_multitask" or (name == "mri_cnn_lstm" and fusion in ("none", "mean")):
        return []
    if name == "mri_cnn_lstm" and fusion in ("poe", "scalar", "learned"):
        return [model["fusion_column"]]
    return clinical_columns(facts)


def images(facts: Facts) -> list[str]:
    if section(facts, "model").get("name") in ("clinical_mlp", "tabular_dnn"):
        return []
    return list(section(facts, "model").get("images") or section(facts, "images"))


def candidates(facts: Facts) -> int:
    """Candidate predictors: an image, a report, a number each, a level but the first of a categorical column, a group of diagnoses each."""
    levels = {line["name"]: len(line["levels"]) for line in facts.cohort.get("characteristics", []) if "levels" in line}
    categorical = section(facts, "clinical").get("categorical", {})
    several = {line["name"]: line["several"] for line in facts.cohort.get("characteristics", []) if "several" in line}
    count = len(images(facts)) + bool(report_source({"config": facts.config}))
    for name in network_columns(facts):
        count += max(1, len(categorical[name]) - 1, levels.get(name, 0) - 1) if name in categorical else several.get(name, 1)
    return count


def sides(facts: Facts) -> tuple[int, int] | None:
    """Units with and without the primary outcome, of classes the rarest one; None where it has levels."""
    events = facts.numbers["events"]
    if kind_of(facts.numbers) == "classes":
        events = min(one["events"] for one in facts.numbers["auc_classes"].values())
    return None if events is None else (events, facts.numbers["n"] - events)


def percent(count: int, share: float) -> str:
    """ ", 17 %"; nothing where so few patients are behind it that it would tell their number."""
    return f", {100 * share:.0f} %" if count >= FEWEST else ""


def left_out(facts: Facts, begins: str) -> tuple[int, float, str]:
    """(rows left out for a reason that begins so, their share of the table, both in words)."""
    flow = facts.cohort["flow"]
    count, total = -sum(n for text, n in flow if text.startswith(begins)), max(1, flow[0][1])
    reasons = ", ".join(f"{text} ({few(-n)})" for text, n in flow if text.startswith(begins))
    return count, count / total, f"{reasons} of {total} rows"
