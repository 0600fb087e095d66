"""Numbers and names in plain words, for the report and the terminal."""

from jaxstroke.evaluation.subgroups import FEWEST
from jaxstroke.outcomes import class_name


def task_order(content: dict, run: dict | None = None) -> list[str]:
    """Tasks, the primary one (`evaluate.primary`) first."""
    tasks = list(dict.fromkeys(task for tasks in content["models"].values() for task in tasks))
    primary = (run or {}).get("config", {}).get("evaluate", {}).get("primary", "")
    return [primary, *(task for task in tasks if task != primary)] if primary in tasks else tasks


def main_model(content: dict, task: str) -> str:
    """`network`, or the first model where a file holds only others."""
    return "network" if task in content["tasks"] else next(m for m, tasks in content["models"].items() if task in tasks)


def lead(content: dict, task: str) -> dict:
    """The numbers of the main model."""
    return content["models"][main_model(content, task)][task]


def kind_of(numbers: dict) -> str:
    """What a task is by its numbers in `metrics.json`: binary | ordinal | classes."""
    return "classes" if "auc_classes" in numbers else "ordinal" if numbers["events"] is None else "binary"


def show(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """A number as text, a dash where undefined, a true minus; what rounds to zero is not below it."""
    return "–" if value is None else f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def span(ci95: list[float] | None, digits: int = 3, sign: bool = False) -> str:
    return "–" if ci95 is None else f"{show(ci95[0], digits, sign)} to {show(ci95[1], digits, sign)}"


def share(value: float | None) -> str:
    """A share as percent with one decimal."""
    return "–" if value is None else f"{100 * value:.1f}"


def few(count: int, before: str = "") -> str:
    """A count of patients; of fewer than five only that they are few, as the page may be shown to others."""
    return f"{before}{count}" if count == 0 or count >= FEWEST else "fewer than 5"


def p_words(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def model_name(model: str) -> str:
    """A model in plain words."""
    plain = {"network": "Network", "clinical_logistic": "Clinical logistic regression"}
    plain["clinical_volume_logistic"] = "Clinical + lesion volume, logistic regression"
    plain["clinical_territory_logistic"] = "Clinical + lesion's territories, logistic regression"
    kinds = {"rule": "Fusion rule", "module": "Module", "column": "Column"}
    kind, _, name = model.partition(":")
    return plain.get(model) or (f"{kinds[kind]}: {name.replace('_', ' ')}" if kind in kinds and name else model)


def outcome_words(run: dict, task: str) -> str:
    """The label's definition, as `mrs > 2`, from the config; empty where it holds none."""
    rule = run["config"].get("cohort", {}).get("outcomes", {}).get(task)
    if not rule:
        return ""
    column, kind, value = rule
    if kind == "within":
        return horizon_words(column, value)
    if kind == "classes":
        return f"{column} is one of {', '.join(map(class_name, value))}"
    if kind != "ordinal":
        return f"{column} {kind} {value}"
    return f"levels of {column}, cut {'at' if value[0] <= value[-1] else 'below'} {', '.join(map(str, value))}"


def horizon_words(column: str, value) -> str:
    """The label of a rule `within`. value: (start, end of follow-up, days)."""
    return f"{column} within {value[2]:g} days of {value[0]}"


def censoring_words(run: dict, tasks: list[str], external: bool) -> str:
    """What was done with patients lost before the horizon of some of the tasks; empty where none has one. external: they are new ones."""
    rules = run["config"].get("cohort", {}).get("outcomes", {})
    named = [task for task in tasks if task in rules and rules[task][1] == "within"]
    if not named:
        return ""
    lost = f"Patients lost before the horizon of {' and '.join(named)} without the outcome"
    if run["config"]["evaluate"].get("censoring") != "weights":
        return (
            f"{lost} are left out there. Whoever had it early is kept and whoever was lost early is not, so that observed risks are too "
            "high where many are lost."
        )
    fitted = "these patients" if external else "the training patients of each fold"
    users = "Measures and curves use" if external else "Loss, comparators, recalibration, thresholds, measures and curves use"
    return (
        f"{lost} count nothing there, and others weigh more in their place: by the inverse of the chance of being under observation that "
        f"long, estimated on {fitted}. {users} these weights; counts of patients and pictures of where predictions lie do not. It holds if "
        "being lost has nothing to do with the risk; intervals take the weights as given."
    )


def how_words(content: dict, run: dict) -> str:
    """What kind of predictions the report is of."""
    once = {"official": "predictions of the test part that the table names", "temporal": "predictions of the last patients in time"}
    if content["split"] == "external":
        return "external validation"
    return once.get(run["config"].get("split", {}).get("kind"), "out-of-fold predictions of cross-validation")


def pretraining_words(run: dict) -> str:
    """On whom encoders were pre-trained without labels; empty where nobody was."""
    config = run["config"]
    begun, stages = run.get("init_from") or {}, config.get("train", {}).get("stages")
    if "networks" in begun:
        seen = "may have seen" if begun["transductive"] or config["pretrain"]["transductive"] else "has seen none of"
        return f"Encoders come from another pre-training, {begun['file']}, which {seen} the patients on whom each fold's network is judged."
    if isinstance(stages, str) or "pretrain" not in (stages or ()):
        return ""
    own = config["pretrain"]
    images = ", ".join(own["images"] or config.get("images", {}))
    how = f"Encoders of {images} were pre-trained without labels (SimCLR, {own['epochs']} epochs, batches of {own['batch_size']})"
    if own["transductive"]:
        return (
            f"{how} on all patients, those of the validation and test parts among them (transductive): networks knew the images of the "
            "patients on whom they are judged, though not their outcomes, which new patients cannot offer them."
        )
    return f"{how} on each fold's training patients and on those without outcome; nobody of a validation or test part was among them."


def report_source(run: dict) -> str:
    """`text.source` of a network that reads reports; empty of all others, and of workdirs that are older than the key."""
    model, text = run["config"].get("model", {}), run["config"].get("text", {})
    reads = model.get("name") == "trimodal_align" and "text" in model.get("modalities", ())
    return text.get("source", "") if reads else ""


def report_words(run: dict) -> str:
    """Where the reports that the network reads come from, and what their words were learned from; empty where it reads none."""
    source, text = report_source(run), run["config"].get("text", {})
    if not source:
        return ""
    written = {
        "given": "Reports are the table's; they must have been written before the outcome was known, which no file tells.",
        "template": f"Reports are written by fixed rules from the lesion mask ({text['mask']}) alone.",
        "llm": f"Reports are written by the language model {text['llm']['model']} from the lesion mask's findings or from key slices, "
        "without outcome or clinical columns; who made each is in reports.jsonl.",
    }[source]
    words = "a vocabulary that was given" if text["vocabulary"] else "the words of each fold's training patients"
    control = {"shuffled": " As a control each patient has another's report.", "constant": " As a control all have one empty report."}
    return f"{written} They are read by {words}.{control.get(text['control'], '')}"


def by_patient(run: dict) -> bool:
    """Whether the rows of a patient were scored as one; workdirs that are older than the key scored every row."""
    return run["config"].get("evaluate", {}).get("per", "study") == "patient"


def row_words(run: dict, tasks: list[str], cohort: dict) -> str:
    """What was scored where that is no row of the table; else empty."""
    if not by_patient(run):
        return ""
    rules = run["config"].get("cohort", {}).get("outcomes", {})
    kinds = {kind if kind in ("ordinal", "classes") else "binary" for kind in (rules[task][1] for task in tasks if task in rules)}
    known = {
        "binary": "Where rows differ in the outcome, a patient has it if any of them has it.",
        "ordinal": "Where rows differ in the level, the highest one counts.",
        "classes": "Log-probabilities are averaged of classes, which are the same in all rows of a patient.",
    }
    rows = f" ({cohort['n']} rows)" if cohort.get("n") else ""
    return " ".join([
        f"Each patient is scored once: the log-odds that a network gives to the patient's rows of the table{rows} are averaged, before "
        "recalibration, thresholds and every measure.",
        *(text for kind, text in known.items() if kind in kinds),
        "Rows without a known outcome say nothing of it, but are averaged. A patient is in the group of the first row. Networks, fusion "
        "and regressions were fitted on rows.",
    ])  # fmt: skip


def size_words(content: dict, task: str) -> str:
    numbers = lead(content, task)
    counted = "" if numbers["events"] is None else f", {numbers['events']} with the outcome"
    counted = f", {len(numbers['auc_classes'])} classes" if kind_of(numbers) == "classes" else counted
    units = "" if numbers["patients"] == numbers["n"] else f" ({numbers['n']} studies)"
    return f"{numbers['patients']} patients{units}{counted}"
