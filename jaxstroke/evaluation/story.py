"""What the report says: sentences, table rows and figures from `metrics.json` and its neighbours, ready for the template."""

from jaxstroke.evaluation import by_kind, forest, new_patients, patients, sections, tripod
from jaxstroke.evaluation.files import Files
from jaxstroke.evaluation.parts import tasks_of
from jaxstroke.evaluation.wording import (
    by_patient,
    censoring_words,
    how_words,
    kind_of,
    lead,
    main_model,
    model_name,
    outcome_words,
    p_words,
    pretraining_words,
    report_words,
    row_words,
    share,
    show,
    size_words,
    span,
    task_order,
)

MANY = 50  # failed files listed in full
NOT_COMPARED = {"auc_difference": None, "ci95": None, "p_delong": None, "p_holm": None}


def tell(content: dict, read: Files) -> dict:
    """Everything the template reads but the risk of bias. content: of `metrics.json`. Where a file was not there, its section says so."""
    run, cohort = read.run, read.cohort
    tasks = task_order(content, run)
    primary = tasks[0]
    failed = [line for line in read.failures if line.get("used") != "yes"]
    models = next(task.models for name, task in tasks_of(read.frame).items() if name == primary)
    return {
        "title": run["config"].get("model", {}).get("name") or "model",
        "primary": primary,
        "outcomes": {task: outcome_words(run, task) for task in tasks},
        "kind": kind_of(lead(content, primary)),
        "split": content["split"],
        "headline": headline(content, run, primary, bool(read.new.get("known"))),
        "tasks": [task_story(content, task) for task in tasks],
        "figures": sections.figures(content, models, primary),
        "thresholds": sections.thresholds(content, models, primary),
        "subgroups": patients.subgroups(content, primary),
        "readers": sections.readers(content, primary),
        "learning": sections.learning(read.learning),
        "flow": patients.flow(cohort, content, primary, by_patient(run)),
        "rows_scored": row_words(run, tasks, cohort),
        "censoring": censoring_words(run, tasks, content["split"] == "external"),
        "pretraining": pretraining_words(run),
        "reports": report_words(run),
        "characteristics": patients.characteristics(cohort),
        "missing": patients.missing(cohort),
        "failures": failed[:MANY],
        "failed": len(failed),
        "remarks": len(read.failures) - len(failed),
        "explained": read.maps,
        "new_patients": new_patients.tell(read.new, lead(content, primary).get("in_the_large")),
        "config": sections.flatten(run["config"]),
        "repeat": sections.reproducibility(run, read.new, read.digest),
        "tripod": tripod.checklist(content, run, cohort, primary),
        "bootstrap": content["bootstrap"],
        "skipped": lead(content, primary)["skipped_folds"],
    }


def headline(content: dict, run: dict, task: str, known: bool) -> dict:
    """The big number, its tiles and what they mean in plain words. known: whether some of new patients were in the training cohort."""
    numbers, name = lead(content, task), model_name(main_model(content, task))
    value, best = numbers["auc"]["value"], numbers.get("attainable_auc")
    sentences = [pairs_words(value, by_kind.words(numbers).pair)]
    if best is not None and value is not None:
        sentences.append(
            f"On these very patients the true log-odds, which nobody knows in real data, reach {show(best)}: "
            f"the network is {show(abs(best - value))} {'below' if value < best else 'above'} what is attainable."
        )
    sentences += [against_words(pair) for pair in content["paired"] if pair["task"] == task and pair["b"].startswith("clinical")]
    return {
        "model": name, "size": size_words(content, task), "how": how_words(content, run), "auc": show(value),
        "summary": summary(content, run, task, name, known),
        "measure": by_kind.words(numbers).measure, "ci95": span(numbers["auc"]["ci95"]),
        "attainable": show(best), "has_attainable": best is not None,
        "sentences": [sentence for sentence in sentences if sentence],
        "tiles": by_kind.tiles(numbers), "ablations": [(name.replace("_", " "), show(v, sign=True)) for name, v in ablations(numbers)],
    }  # fmt: skip


def summary(content: dict, run: dict, task: str, name: str, known: bool) -> str:
    """The result in one sentence, with its interval; empty where there is no AUC."""
    numbers, outcome = lead(content, task), outcome_words(run, task)
    if numbers["auc"]["value"] is None:
        return ""
    interval = f" (95 % interval {span(numbers['auc']['ci95'])})" if numbers["auc"]["ci95"] else ""
    new = "In patients of whom some were in the training cohort" if known else "In new patients"
    where = new if content["split"] == "external" else "In patients it was not trained on"
    what = f"{task} ({outcome})" if outcome else task
    auc = f"{by_kind.words(numbers).article} of {show(numbers['auc']['value'])}{interval}"
    return f"{where}, the {name[0].lower()}{name[1:]} predicts {what} with {auc}."


def pairs_words(value: float | None, pair: tuple[str, str]) -> str:
    """What an AUC is, as pairs of patients. pair: of `by_kind.Words`."""
    if value is None:
        return ""
    ranked = f"it ranks the first higher in {100 * value:.0f} of 100 pairs{pair[1]}"
    return f"Of two patients, {pair[0]}, {ranked}; 50 is chance, 100 is perfect."


def ablations(numbers: dict) -> list[tuple[str, float | None]]:
    """What the attainable AUC loses without each source of information, as a negative change."""
    return [(name, None if value is None else -value) for name, value in numbers.get("ablations", {}).items()]


def against_words(pair: dict) -> str:
    """One paired comparison as a sentence that does not claim more than the interval allows."""
    if pair["auc_difference"] is None or pair["ci95"] is None:
        return ""
    low, high = pair["ci95"]
    verdict = "more than chance explains" if low > 0 or high < 0 else "not more than chance explains"
    direction = "above" if pair["auc_difference"] >= 0 else "below"
    p = p_words(pair["p_delong"])
    tested = "" if pair["p_delong"] is None else f", DeLong p {p if p.startswith('<') else '= ' + p}"
    return (
        f"Its AUC is {show(abs(pair['auc_difference']))} {direction} that of {model_name(pair['b']).lower()} "
        f"(difference {show(low, sign=True)} to {show(high, sign=True)}{tested}): {verdict}."
    )


def model_rows(content: dict, task: str) -> list[dict]:
    """The table of models: the main one, then the others as they come in the file."""
    paired = {pair["b"]: pair for pair in content["paired"] if pair["task"] == task}
    first = main_model(content, task)
    order = [first, *(model for model in content["models"] if model != first and task in content["models"][model])]
    rows = []
    for model in order:
        numbers, pair = content["models"][model][task], paired.get(model, NOT_COMPARED)
        low_high = pair["ci95"] and [-pair["ci95"][1], -pair["ci95"][0]]
        difference = None if pair["auc_difference"] is None else -pair["auc_difference"]
        rows.append({
            "model": model, "name": model_name(model), "main": model == first, "n": numbers["n"], "value": numbers["auc"]["value"],
            "auc": show(numbers["auc"]["value"]), "ci95": span(numbers["auc"]["ci95"]), "limits": numbers["auc"]["ci95"],
            "pooled": show(numbers["auc_pooled"]), "auprc": show(numbers["auprc"]), "brier": show(numbers["brier"]),
            "slope": show(numbers["calibration"]["slope"], 2), "ece": show(numbers["calibration"]["ece"]),
            "kappa": show(numbers.get("kappa")), "balanced": share(numbers["balanced_accuracy"]), "log_loss": show(numbers.get("log_loss")),
            "qwk": show(numbers.get("qwk")), "mae": show(numbers["mae"], 2), "difference": difference, "difference_limits": low_high,
            "against": show(difference, sign=True), "against_ci95": span(low_high, sign=True), "p": p_words(pair["p_delong"]),
            "p_holm": p_words(pair["p_holm"]),
        })  # fmt: skip
    return rows


def task_story(content: dict, task: str) -> dict:
    """The table of a task and the forest plot of its paired differences."""
    rows = model_rows(content, task)
    scale = forest.scale_of(rows, rows[0]["value"], 0.1)
    for row in rows:
        row["bar"] = forest.bar(scale, row["value"], row["limits"], "s0" if row["main"] else "s4")
    numbers = lead(content, task)
    cuts = [(cut, cell["events"], show(cell["value"]), span(cell["ci95"])) for cut, cell in numbers.get("auc_cuts", {}).items()]
    return {
        "name": task, "rows": rows, "axis": forest.axis(scale), "columns": by_kind.words(numbers).columns, "cuts": cuts,
        "classes": by_kind.class_rows(numbers), "confusion": by_kind.confusion_rows(numbers),
        "size": size_words(content, task), "paired": paired(rows), "spread": spread_words(numbers.get("spread")),
    }  # fmt: skip


def spread_words(spread: dict | None) -> list[str]:
    """What another run would change, as sentences; none of one seed and one repeat."""
    if spread is None:
        return []
    moves, counts, found = [], [], []
    if spread["sd_seed"] is not None:
        moves.append(f"another seed moves the AUC of the network by ± {show(spread['sd_seed'])}")
        counts.append(f"{spread['seeds']} seeds")
    if spread["sd_split"] is not None:
        split = "another split" if moves else "another split, with another training, moves the AUC of the network"
        moves.append(f"{split} by ± {show(spread['sd_split'])}")
        counts.append(f"{spread['repeats']} repeats")
    if moves:
        words = ", ".join(moves)
        found.append(f"{words[0].upper()}{words[1:]} (standard deviation of single runs, {', '.join(counts)}).")
    merged = spread["auc_ensemble"]
    if merged["value"] is not None:
        found.append(f"The mean probability of the seeds has an AUC of {show(merged['value'])} (95 % interval {span(merged['ci95'])}).")
    return found


def paired(rows: list[dict]) -> dict:
    """{"rows", "axis"}: each model's AUC less that of the first, where both are defined."""
    compared = [{**row, "value": row["difference"], "limits": row["difference_limits"]} for row in rows if row["difference"] is not None]
    if not compared:
        return {"rows": [], "axis": ""}
    scale = forest.scale_of(compared, 0.0, 0.02)
    for row in compared:
        clear = row["limits"] and (row["limits"][0] > 0 or row["limits"][1] < 0)
        row["bar"] = forest.bar(scale, row["value"], row["limits"], "s0" if clear else "s4")
    return {"rows": compared, "axis": forest.axis(scale)}
