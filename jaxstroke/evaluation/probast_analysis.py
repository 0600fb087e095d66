"""Questions on the analysis: numbers, missing values, leaks, performance, overfitting, validation."""

from jaxstroke import outcomes
from jaxstroke.evaluation.probast_facts import NO, UNCLEAR, YES, Answer, Facts, candidates, images, network_columns, percent, section, sides
from jaxstroke.evaluation.subgroups import FEWEST
from jaxstroke.evaluation.wording import few, kind_of, show, span

PER_VARIABLE = (10, 20)  # patients of the rarer kind a candidate predictor: below the first too few, below the second doubtful
TESTED = 100  # patients of either kind in the tests, below which performance is hardly known
SLOPES = (0.8, 1.25)
ELSEWHERE = "Nothing was trained here: see the report of the trained run."
MISSING = (0.05, 0.2)  # share of patients that lack a value: up to the first little, above the second much


def analysis(facts: Facts) -> list[Answer]:
    asked = (
        enough_to_fit, enough_to_test, missing, separate, fitted_within, thresholds, imbalance, discrimination, calibrated, optimism,
        repeated, outside, groups, chosen,
    )  # fmt: skip
    return [question(facts) for question in asked]


def enough_to_fit(facts: Facts) -> Answer:
    question, both, count = "Are there enough events for the predictors tried?", sides(facts), candidates(facts)
    if facts.outside:
        return Answer(question, UNCLEAR, ELSEWHERE)
    if both is None or not count:
        return Answer(question, UNCLEAR, "The outcome has levels." if both is None else "run.json names no predictor.")
    ratio = min(both) / count
    low = [bound for bound in PER_VARIABLE if ratio < bound]
    verdict = NO if len(low) == len(PER_VARIABLE) else UNCLEAR if low or images(facts) else YES
    made = f"{len(images(facts))} images and {count - len(images(facts))} clinical variables, each level but one counted"
    why = f"{few(min(both))} of the rarer outcome, {count} candidate predictors ({made})"
    why += f": {ratio:.1f} each" if min(both) >= FEWEST else ""  # else it would tell their number
    bound = f", fewer than {low[0]}" if low else ""
    more = " A network that reads images has many more weights than that." if images(facts) else ""
    return Answer(question, verdict, f"{why}{bound}.{more}")


def enough_to_test(facts: Facts) -> Answer:
    question, both = "Are there enough events, and patients without, in the tests?", sides(facts)
    if both is None:
        return Answer(question, UNCLEAR, f"The outcome has levels; {facts.numbers['n']} were tested.")
    what = "rarest class" if kind_of(facts.numbers) == "classes" else "outcome"
    said = f"{few(both[0])} with and {few(both[1])} without the {what}"
    enough = min(both) >= TESTED
    return Answer(question, YES if enough else NO, f"{said}{'' if enough else f': fewer than {TESTED} of one kind'}.")


def missing(facts: Facts) -> Answer:
    question = "Were missing values handled well?"
    read, total = {*images(facts), *network_columns(facts)}, max(1, facts.cohort.get("n", 0))
    if "missing" not in facts.cohort:
        return Answer(question, UNCLEAR, "There is no cohort.json with counts of missing values.")
    counts = {name: n for name, n in facts.cohort["missing"].items() if n and (name in read or not read)}
    if not counts:
        return Answer(question, YES, "No value of a predictor is missing.")
    worst = max(counts.values()) / total
    listed = ", ".join(f"{name} {few(n)}" for name, n in sorted(counts.items(), key=lambda pair: -pair[1]))
    how = "Numbers become the median of the fold's training patients, with a flag; images are masked; nothing is imputed several times."
    most = percent(max(counts.values()), worst).replace(", ", ", up to ")
    verdict = NO if worst > MISSING[1] else UNCLEAR if worst > MISSING[0] else YES
    return Answer(question, verdict, f"Missing{most} of {total}: {listed}. {how}")


def separate(facts: Facts) -> Answer:
    """Checked anew: a patient in two parts of a fold, by splits.json and by the rows of predictions.csv."""
    question = "Was nobody trained or tuned on who is tested in the same fold?"
    if facts.outside:
        return Answer(question, *overlap(facts))
    leaks, patient = set(), dict(zip(facts.frame["unit_id"], facts.frame["patient_id"], strict=True))
    for fold in facts.folds:
        parts = [{owner(unit, patient) for unit in fold[part]} for part in ("train", "val", "test")]
        leaks |= parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        for inner in fold.get("inner") or []:
            leaks |= parts[2] & {owner(unit, patient) for part in ("train", "val", "holdout") for unit in inner[part]}
    for _, rows in facts.frame.groupby(["repeat", "fold", "seed"]):
        leaks |= set(rows.loc[rows["split"] == "val", "patient_id"]) & set(rows.loc[rows["split"] == "test", "patient_id"])
    if leaks:
        return Answer(question, NO, f"{few(len(leaks))} patients are in two parts of one fold.")
    if not facts.folds:
        return Answer(question, UNCLEAR, "No validation patient is a test patient in predictions.csv, but splits.json is not there.")
    return Answer(question, YES, f"No patient is in two parts, in any of {len(facts.folds)} folds: checked now, in the files.")


def owner(unit: str, patient: dict[str, str]) -> str:
    """The patient of a unit. patient: by unit, or where a patient's rows are scored as one by its own id, with which its units begin."""
    parts = unit.split("/")
    names = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((patient[name] for name in names if name in patient), unit)


def overlap(facts: Facts) -> tuple[str, str]:
    """(verdict, why) on patients of an external validation who were in the training cohort."""
    if facts.known is None:
        return UNCLEAR, "Whether somebody was in the training cohort no file tells: external.json is not there."
    if facts.known:
        return NO, f"{few(facts.known)} of these patients have ids of the training cohort: their scores are not independent."
    return YES, "No patient here has an id of the training cohort. One person under two ids is not noticed."


def fitted_within(facts: Facts) -> Answer:
    question = "Was all preparation that learns from data fitted inside the folds?"
    begun = section(facts, "model").get("init_from") or section(facts, "text").get("init_from")
    pretraining = section(facts, "pretrain")
    stages = section(facts, "train").get("stages")
    if pretraining.get("transductive") and (begun or (isinstance(stages, list) and "pretrain" in stages)):
        return Answer(question, NO, "Encoders were pre-trained on images of test patients too (config.pretrain.transductive).")
    if begun:
        return Answer(question, UNCLEAR, f"Networks began from {begun}: whether their patients are among these, no file tells.")
    why = (
        "The program fits medians, scaling, fusion, recalibration and thresholds on each fold's own patients (training/runs.py, judge.py)."
    )
    return Answer(question, YES, why)


def thresholds(facts: Facts) -> Answer:
    question = "Were thresholds set on other patients than those tested?"
    if kind_of(facts.numbers) == "classes":
        return Answer(question, YES, "There is none to set: the most probable class is the one that is predicted.")
    sources = {line.get("source") for line in facts.numbers["thresholds"]}
    if not sources:
        return Answer(question, UNCLEAR, "There is no threshold.")
    return Answer(
        question, YES if sources == {"validation"} else NO, f"Their source in metrics.json: {', '.join(sorted(map(str, sources)))}."
    )


def imbalance(facts: Facts) -> Answer:
    question, train = "Are probabilities those of the patients, not of a balanced sample?", section(facts, "train")
    remedy = train.get("imbalance")
    rule = section(facts, "cohort").get("outcomes", {}).get(facts.task, ["", "", ""])[1]
    if remedy is None:
        return Answer(question, UNCLEAR, "run.json does not say how imbalance was met.")
    if remedy == "none":
        return Answer(question, YES, "No remedy for imbalance was used.")
    if train.get("as_published") or (remedy == "weights" and not outcomes.KINDS[outcomes.of_rule(rule)].weighted):
        return Answer(question, NO, f"Training used {remedy}, and log-odds were not shifted back.")
    return Answer(question, YES, f"Training used {remedy}; log-odds are shifted back to the training patients' own share.")


def discrimination(facts: Facts) -> Answer:
    question, auc = "Is discrimination reported with its uncertainty?", facts.numbers["auc"]
    if auc["ci95"] is None:
        return Answer(question, NO, "The AUC has no interval." if auc["value"] is not None else "There is no AUC.")
    return Answer(question, YES, f"AUC {show(auc['value'])}, 95 % interval {span(auc['ci95'])}.")


def calibrated(facts: Facts) -> Answer:
    question, again = "Was calibration looked at, and is it good?", facts.numbers["recalibrated"]
    slopes = slopes_of(again or facts.numbers)
    if not slopes:
        return Answer(question, UNCLEAR, "No calibration slope: the outcome has levels, or the model gives a score.")
    good = all(SLOPES[0] <= slope <= SLOPES[1] for slope in slopes)
    when = "after recalibration" if again else "without recalibration"
    said = f"{'inside' if good else 'outside'} {SLOPES[0]:g} to {SLOPES[1]:g}"
    named = ", ".join(show(slope, 2) for slope in slopes)
    return Answer(question, YES if good else NO, f"Slope{'s of the classes' * (len(slopes) > 1)} {named} {when}, {said}.")


def slopes_of(numbers: dict) -> list[float]:
    """The calibration slope, or that of each class; none where it is undefined."""
    parts = (numbers.get("calibration_classes") or {"": numbers["calibration"]}).values()
    return [one["slope"] for one in parts if one["slope"] is not None]


def optimism(facts: Facts) -> Answer:
    question = "Was optimism accounted for by testing on patients held back?"
    if facts.outside:
        return Answer(question, *overlap(facts))
    count = len(facts.folds) or len(facts.frame[facts.frame["split"] == "test"][["repeat", "fold"]].drop_duplicates())
    if count > 1:
        return Answer(question, YES, f"Cross-validation: {count} folds over all repeats; everybody tested was held back.")
    return Answer(question, NO, "One division into training and test patients: its result hangs on that division.")


def repeated(facts: Facts) -> Answer:
    question = "Is it known how much another training would differ?"
    if facts.outside:
        return Answer(question, UNCLEAR, ELSEWHERE)
    repeats, seeds = facts.frame["repeat"].nunique(), facts.frame["seed"].nunique()
    said = f"{repeats} repeat{'s' * (repeats > 1)} of the folds, {seeds} seed{'s' * (seeds > 1)}"
    return Answer(question, YES if repeats * seeds > 1 else NO, f"{said}; the interval does not hold that spread.")


def outside(facts: Facts) -> Answer:
    question = "Was it evaluated on patients from elsewhere?"
    if facts.outside:
        return Answer(question, YES, f"This is such an evaluation, of {facts.numbers['n']}.")
    if not facts.external:
        return Answer(question, NO, "No external validation lies in the workdir.")
    found = "; ".join(f"{one['n']} with AUC {show(one['auc']['value'])}" for one in facts.external)
    return Answer(question, YES, f"{len(facts.external)} in external/: {found}. How far they are from here, the authors must say.")


def groups(facts: Facts) -> Answer:
    question = "Was performance looked at in groups of patients?"
    columns = list(dict.fromkeys(line["column"] for line in facts.content["subgroups"] if line["task"] == facts.task and line["column"]))
    return Answer(question, YES if columns else NO, f"By {', '.join(columns)}." if columns else "No: evaluate.subgroups names the columns.")


def chosen(facts: Facts) -> Answer:
    question = "Was the model chosen without looking at the tests?"
    return Answer(question, UNCLEAR, "How many settings were tried on these patients before this run, no file tells.")
