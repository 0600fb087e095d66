"""The checklist of TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378), in our own words, as far as a run can fill it in.

A line is (number, what is asked, what remains to the authors, "…" where that is all of it); what a run knows is in `answers`. Nothing is
claimed that the files of a workdir do not hold: an empty answer is a blank.
"""

from jaxstroke.evaluation import by_kind
from jaxstroke.evaluation.wording import (
    censoring_words,
    kind_of,
    lead,
    main_model,
    model_name,
    outcome_words,
    report_source,
    row_words,
    show,
    size_words,
    span,
)

SECTIONS = (
    ("Title and abstract", (
        ("1", "Title", "wording of the title; the people it is for"),
        ("2", "Abstract", "the abstract, by the list for abstracts"),
    )),
    ("Introduction", (
        ("3a", "Healthcare context and reason; earlier models", "…"),
        ("3b", "People, place in care and users the model is meant for", "…"),
        ("3c", "Known health inequalities between groups", "…"),
        ("4", "Objectives", "the objectives"),
    )),
    ("Methods", (
        ("5a", "Source of the data", "design of the study, why these data, whom they represent"),
        ("5b", "Dates of inclusion and follow-up", "…"),
        ("6a", "Setting and centres", "setting, and where the centres are"),
        ("6b", "Who could take part", "criteria of the study itself"),
        ("6c", "Treatments", "…"),
        ("7", "Preparation and checks of the data", "checks before the table was made; whether equal for all groups"),
        ("8a", "Outcome and its time", "when and how it was assessed, and why this one"),
        ("8b", "Assessors of the outcome", "where judgement was needed"),
        ("8c", "Blinding of the outcome", "…"),
        ("9a", "Choice of predictors", "why these"),
        ("9b", "Predictors and how they were measured", "units, time and way of measuring, blinding"),
        ("9c", "Assessors of predictors", "where judgement was needed"),
        ("10", "Sample size", "why it is enough"),
        ("11", "Missing data", "why values are missing"),
        ("12a", "How the data were divided", ""),
        ("12b", "Form of the predictors", ""),
        ("12c", "Model, its building and internal validation", "why this model; settings tried before this run"),
        ("12d", "Differences between centres", "how they were handled"),
        ("12e", "Measures of performance", ""),
        ("12f", "Updating of the model", ""),
        ("12g", "How predictions are calculated", ""),
        ("13", "Class imbalance", "why"),
        ("14", "Fairness", "what was done for it, and why"),
        ("15", "Output and thresholds", "why these thresholds, if any is to be used"),
        ("16", "Development and evaluation data compared", "differences in setting, criteria, outcome, predictors"),
        ("17", "Ethical approval and consent", "…"),
    )),
    ("Open science", (
        ("18a", "Funding", "…"),
        ("18b", "Conflicts of interest", "…"),
        ("18c", "Protocol", "…"),
        ("18d", "Registration", "…"),
        ("18e", "Availability of the data", "…"),
        ("18f", "Availability of the code", "where code and config can be had"),
    )),
    ("Patients and public", (("19", "Involvement in the study", "…"),)),
    ("Results", (
        ("20a", "Flow of participants", "time of follow-up"),
        ("20b", "Characteristics", "dates, treatments"),
        ("20c", "Evaluation cohort compared with development", "for an external evaluation"),
        ("21", "Patients and outcomes in each analysis", ""),
        ("22", "The full model", "where the networks can be had, and on what terms"),
        ("23a", "Performance with intervals, also in groups", ""),
        ("23b", "Performance between centres", "what it means"),
        ("24", "Results of updating", ""),
    )),
    ("Discussion", (
        ("25", "Interpretation", "…"),
        ("26", "Limitations", "…"),
        ("27a", "Poor or missing input in use", "what a user should do"),
        ("27b", "What users must do and know", "…"),
        ("27c", "Next steps", "…"),
    )),
)  # fmt: skip

RECALIBRATED = {
    "binary": "Two-parameter logistic recalibration, fitted on the validation patients of each fold.",
    "classes": "Two-parameter logistic recalibration of each class against the rest, fitted on the validation patients of each fold; the "
    "probabilities are then divided by their sum.",
}
IMAGES = "Images are resampled and normalised by fixed rules, the same for every patient; files that cannot be used are listed."


def checklist(content: dict, run: dict, cohort: dict, task: str) -> list[tuple[str, list[dict]]]:
    """[(section, [{"number", "title", "filled", "left"}])]: all items in order; filled: sentences of this run; left: to the authors."""
    known = answers(content, run, cohort, task)

    def line(number: str, title: str, left: str) -> dict:
        filled = known.get(number, "")
        return {"number": number, "title": title, "filled": filled, "left": left if left or filled else "…"}

    return [(section, [line(*item) for item in items]) for section, items in SECTIONS]


def answers(content: dict, run: dict, cohort: dict, task: str) -> dict[str, str]:
    """{number: what the run says}. Sections of the config that are absent are left out."""
    config = run["config"]
    found = of_study(content, cohort, task) | of_methods(content, run, task) | of_results(content, run, task)
    tellers = {"cohort": of_cohort, "clinical": of_predictors, "split": of_split, "model": of_model, "train": of_training}
    for section, tell in tellers.items():
        if config.get(section):
            found |= tell(config)
    if content["split"] == "external":
        found |= of_evaluation(found)
    outcome, lost = outcome_words(run, task), censoring_words(run, [task], content["split"] == "external")
    told = " ".join(text for text in (f"{task}: {outcome}, a rule on the table's column.", row_words(run, [task], cohort), lost) if text)
    return found | ({"8a": told} if outcome else {})


def of_study(content: dict, cohort: dict, task: str) -> dict[str, str]:
    external, words = content["split"] == "external", size_words(content, task)
    kind = "External evaluation of a trained model" if external else "Development of a model with internal validation"
    left_out = [f"{text} ({-n})" for text, n in cohort.get("flow", []) if n < 0]
    size = f"{words[0].upper()}{words[1:]}"
    return {
        "1": f"{kind}, for the prediction of {task}.",
        "4": f"{kind}.",
        "6b": f"Left out by the program: {', '.join(left_out) or 'nobody'}." if cohort.get("flow") else "",
        "10": f"{size}: everybody in the table who could be used. The program calculates no sample size.",
        "16": "Development is described in the report of the trained run." if external else "One cohort; no separate evaluation data.",
        "20a": "In the section on patients." if cohort.get("flow") else "",
        "20b": "In the section on patients, without and with the outcome." if cohort.get("characteristics") else "",
        "20c": "" if external else "One cohort; none to compare it with.",
        "21": f"{size}; " + ("all evaluated." if external else "each is tested once a repeat, by networks trained without them."),
    }


def of_evaluation(found: dict[str, str]) -> dict[str, str]:
    """What is another thing of an external validation, whose config is that of the training. found: the answers so far."""
    development = {number: f"In development: {found[number]}" for number in ("12a", "12c", "13") if found.get(number)}
    return development | {
        "5a": "",  # the config names the table of training
        "12f": "Nothing is updated: all that is applied, recalibration too, was fitted in development.",
        "20c": "In the section on external validation, where the inputs of training are known.",
        "24": f"Not updated. {found['24']}" if found.get("24") else "",
    }


def of_cohort(config: dict) -> dict[str, str]:
    cohort = config["cohort"]
    recipe, group = cohort.get("recipe", "table"), cohort.get("group", "")
    source = f"The table {cohort.get('table', '')}." if recipe == "table" else f"The public cohort '{recipe}', as published."
    source = "A synthetic cohort with a stated outcome model: no patients." if recipe.startswith("synthetic") else source
    outcomes = {rule[0] for rule in cohort.get("outcomes", {}).values()}  # out of its range an outcome stops the program
    limits = {name: pair for name, pair in cohort.get("ranges", {}).items() if name not in outcomes}
    ranges = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in limits.items())
    return {
        "5a": source,
        "6a": f"Centres are told by the column {group}." if group else "",
        "7": " ".join([IMAGES] * bool(config.get("images")) + [f"Numbers outside these ranges count as missing: {ranges}."] * bool(ranges)),
    }


def of_predictors(config: dict) -> dict[str, str]:
    clinical, model = config["clinical"], config.get("model", {})
    codes = clinical.get("codes", {})
    columns = model.get("clinical") or [*clinical.get("numeric", []), *clinical.get("categorical", {}), *codes]
    grouped = [f"codes of {name} become indicators of ICD-10 {kind}" for name, kind in codes.items() if name in columns]
    report = report_source({"config": config})
    images = [f"image {name}" for name in model.get("images") or config.get("images", {})]
    names = [*images, *[f"report ({report})"] * bool(report), *columns]
    return {
        "9a": "Those listed in the config before the run; none is selected by the outcome.",
        "9b": f"{', '.join(names)}." if names else "",
        "11": "Missing images are masked; missing numbers are replaced by the training patients' median and flagged, missing levels "
        "flagged. Counts are in the section on missing values.",
        "12b": "Numbers are standardised by the training patients' mean and deviation, levels are indicators; "
        f"{', '.join(grouped) or 'nothing is cut into groups'}.",
        "27a": "Missing input is masked and flagged in the predictions; a file that cannot be read is reported with the reason.",
    }


def of_split(config: dict) -> dict[str, str]:
    split = config["split"]
    kind, repeats = split.get("kind"), split.get("repeats")
    times = f"{split.get('folds')} folds, {repeats} repeat{'' if repeats == 1 else 's'}, seed {split.get('seed')}"
    plain = {"kfold": f"Cross-validation, patients never divided: {times}", "group": f"Cross-validation by centre: {times}"}
    outer = plain.get(kind, f"A {kind} split by the column {split.get('column')}")
    stopping = "" if config.get("train", {}).get("watch") == "last" else "early stopping, "
    inner = f"{100 * split.get('inner_share', 0):g} % served {stopping}recalibration and thresholds"
    return {"12a": f"{outer}. Of each fold's training patients {inner}."}


def of_model(config: dict) -> dict[str, str]:
    model, optimizer = config["model"], config.get("optimizer", {})
    rate = f"; optimizer {optimizer.get('name')}, learning rate {optimizer.get('learning_rate')}" if optimizer else ""
    return {
        "12c": f"{model.get('name')}, fusion {model.get('fusion', 'none')}{rate}; every setting is in the config. All that is fitted "
        "(imputation, scaling, fusion, recalibration, thresholds) is fitted within the fold.",
        "12g": "By the ensemble of the folds' networks: --mode predict.",
        "22": "The workdir holds networks, config, scalers, fusion and recalibration; --mode predict applies them to a table.",
    }


def of_training(config: dict) -> dict[str, str]:
    known = {
        "none": "Not corrected for.",
        "weights": "Classes are weighted in the loss.",
        "oversample": "The rarer class is drawn more often, and the log-odds are shifted back.",
    }
    return {"13": known.get(config["train"].get("imbalance"), "")}


def of_methods(content: dict, run: dict, task: str) -> dict[str, str]:
    numbers, columns = lead(content, task), groups_of(content, task)
    whose = "development's " if content["split"] == "external" else ""
    words = by_kind.words(numbers)
    score = "A score that ranks patients." if numbers["score_only"] else words.gives
    return {
        "12e": f"AUC, its difference to every comparator with DeLong's p, {words.performance}; 95 % intervals by bootstrap of patients.",
        "12f": RECALIBRATED[kind_of(numbers)] if numbers["recalibrated"] else "",
        "14": f"Nothing in training; performance is shown apart for {', '.join(columns)}." if columns else "",
        "15": f"{score} Thresholds maximise sensitivity + specificity on {whose}validation patients." if numbers["thresholds"] else score,
        "18f": f"jaxstroke {run.get('versions', {}).get('jaxstroke', '')}, Apache-2.0; command, versions and hashes are in this report.",
    }


def of_results(content: dict, run: dict, task: str) -> dict[str, str]:
    numbers, columns = lead(content, task), groups_of(content, task)
    again, auc = numbers["recalibrated"], f"AUC {show(numbers['auc']['value'])} (95 % interval {span(numbers['auc']['ci95'])})"
    centre = run["config"].get("cohort", {}).get("group", "")
    brier = "" if numbers["brier"] is None else f", Brier score {show(numbers['brier'])}"
    slope = f", calibration slope {show(again['calibration']['slope'], 2)}" if again and kind_of(numbers) == "binary" else ""
    return {
        "12d": f"Performance is shown apart for the values of {centre}." if centre in columns else "",
        "23a": f"{model_name(main_model(content, task))}: {auc}{brier}." + (f" Groups: {', '.join(columns)}." if columns else ""),
        "23b": f"In the section on subgroups, by {centre}." if centre in columns else "",
        "24": f"After recalibration: Brier score {show(again['brier'])}{slope}." if again else "",
    }


def groups_of(content: dict, task: str) -> list[str]:
    """The columns by which patients were scored apart."""
    return list(dict.fromkeys(line["column"] for line in content["subgroups"] if line["task"] == task and line["column"]))
