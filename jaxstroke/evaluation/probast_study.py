"""Questions on the participants, the predictors and the outcome."""

from jaxstroke.evaluation.probast_facts import (
    NO,
    UNCLEAR,
    YES,
    Answer,
    Facts,
    clinical_columns,
    images,
    left_out,
    network_columns,
    outcome_columns,
    percent,
    section,
)
from jaxstroke.evaluation.wording import report_words

SHARE = 0.05  # of the table: fewer left out move little
AUTHORS = "No file of a run can tell; its authors have to say."


def participants(facts: Facts) -> list[Answer]:
    return [source(facts), Answer("Are these patients those that the model is meant for?", UNCLEAR, AUTHORS), complete(facts)]


def source(facts: Facts) -> Answer:
    question = "Are the data of a suitable source, such as a cohort or registry that was followed?"
    recipe = "" if facts.outside else section(facts, "cohort").get("recipe", "")  # that of training
    if recipe.startswith("synthetic"):
        return Answer(question, NO, "The cohort is synthetic: no patients, so nothing follows for any.")
    named = f"The public cohort '{recipe}'. " if recipe not in ("", "table") else ""
    return Answer(question, UNCLEAR, named + AUTHORS)


def complete(facts: Facts) -> Answer:
    question = "Were patients kept whose data are incomplete?"
    if not facts.cohort.get("flow"):
        return Answer(question, UNCLEAR, "There is no cohort.json with the flow of patients.")
    found = [left_out(facts, begins) for begins in ("incomplete", "no usable image")]
    count, share = sum(one[0] for one in found), sum(one[1] for one in found)
    if not count:
        return Answer(question, YES, "Nobody was left out for want of a value or an image.")
    why = f"Left out{percent(count, share)}: {'; '.join(words for number, _, words in found if number)} (cohort.complete asks for it)."
    return Answer(question, NO if share > SHARE else UNCLEAR, why)


def predictors(facts: Facts) -> list[Answer]:
    same = "Images are prepared by fixed rules, the same for everybody; how files and columns were measured no file tells."
    late = "Only who made the table knows whether a column or image was there when the prediction would be made."
    written = report_words({"config": facts.config})
    return [
        Answer("Were predictors defined and measured alike for all?", UNCLEAR, f"{same} {written}".rstrip()),
        Answer("Were they known at the time of the prediction?", UNCLEAR, late),
        apart(facts),
        Answer("Were they assessed without knowledge of the outcome?", UNCLEAR, AUTHORS),
    ]


def apart(facts: Facts) -> Answer:
    """Whether a column that makes an outcome is read as a predictor."""
    question = "Is the outcome left out of the predictors?"
    outcomes = set(outcome_columns(facts))
    compared = section(facts, "evaluate").get("comparators", {}).get("columns", [])
    files = [section(facts, "images").get(name, {}).get("column") for name in images(facts)]
    read = [name for name in (*network_columns(facts), *files) if name in outcomes]
    scored = [name for name in compared if name in outcomes]
    if read or scored:
        said = [f"the network reads {', '.join(read)}"] * bool(read) + [f"the comparators score {', '.join(scored)}"] * bool(scored)
        return Answer(question, NO, f"A column that makes an outcome is a predictor: {'; '.join(said)}.")
    if not outcomes:
        return Answer(question, UNCLEAR, "run.json names no outcome.")
    described = [name for name in clinical_columns(facts) if name in outcomes]
    more = f" {', '.join(described)} among the clinical columns is read by no network." if described else ""
    return Answer(
        question,
        YES,
        f"{' or '.join(sorted(outcomes))} is read as no predictor.{more} A column that says the same in other words is not noticed.",
    )


def outcome(facts: Facts) -> list[Answer]:
    question = "Is the outcome one rule, the same for all?"
    rule = section(facts, "cohort").get("outcomes", {}).get(facts.task)
    said = f"{facts.task}: a fixed rule on the column {rule[0]}." if rule else "run.json holds no rule for it."
    return [
        Answer(question, YES if rule else UNCLEAR, said),
        followed(facts),
        Answer("Was it assessed at a sensible time, and blind to the predictors?", UNCLEAR, AUTHORS),
    ]


def followed(facts: Facts) -> Answer:
    question = "Is it known for nearly all?"
    if not facts.cohort.get("flow"):
        return Answer(question, UNCLEAR, "There is no cohort.json with the flow of patients.")
    count, share, words = left_out(facts, "without outcome")
    if not count:
        return Answer(question, YES, "No row was left out for want of an outcome.")
    return Answer(question, NO if share > SHARE else UNCLEAR, f"Left out{percent(count, share)}: {words}.")
