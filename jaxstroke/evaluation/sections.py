"""The report's sections below the table of models: figures, thresholds, learning curves, config, what repeats the run."""

import statistics

from jaxstroke.evaluation import curves, plots
from jaxstroke.evaluation.wording import few, lead, main_model, model_name, share, show

STYLES = ("s0", "s1", "s2", "s3", "s4", "s5")
MOST_CURVES = 4
POINTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # probabilities at which the table of thresholds has a row
PLAIN = {"table": "table of patients", "splits": "splits.json"}  # what `run.json` hashes beside the records of images


def shown_models(content: dict, task: str) -> list[str]:
    """The few models whose curves are drawn: the main one, its comparators, a column."""
    known = [model for model, tasks in content["models"].items() if task in tasks]
    columns = [model for model in known if model.startswith("column:") and "_without_" not in model]
    wanted = [main_model(content, task), "clinical_logistic", "clinical_volume_logistic", f"column:{content['attainable']}", *columns]
    return [model for model in dict.fromkeys(wanted) if model in known][:MOST_CURVES]


def figures(content: dict, models: dict, task: str) -> dict:
    """{"roc", "calibration", "decision", "distributions"}: a picture and its legend [(style, name)], None where it has no meaning."""
    shown = shown_models(content, task)
    numbers, cuts = content["models"][shown[0]][task], models[shown[0]]
    found = {"roc": roc(models, task, shown), "calibration": None, "decision": None, "distributions": distributions(numbers, cuts, task)}
    if "" in cuts and not numbers["score_only"]:
        found |= {"calibration": calibration(cuts[""]), "decision": decision(content, models, task, shown)}
    return found


def roc(models: dict, task: str, shown: list[str]) -> dict:
    """The models' mean curves; of a task with levels the main model's, a curve a cut-off."""
    cuts = models[shown[0]]
    if "" in cuts:
        series = [(model_name(model), style, curves.mean_roc(models[model][""])) for model, style in zip(shown, STYLES, strict=False)]
    else:
        series = [(f"{task} ≥ {cut}", STYLES[place % 6], curves.mean_roc(parts)) for place, (cut, parts) in enumerate(cuts.items())]
    return {"svg": plots.roc(series), "legend": legend(series)}


def legend(series: list[tuple]) -> list[tuple[str, str]]:
    return [(style, name) for name, style, _ in series]


def calibration(parts: list) -> dict:
    """The main model's groups, raw and recalibrated, and how many patients were given each probability."""
    kinds = (("raw", "s4", "score"), ("recalibrated", "s0", "recalibrated"))
    series = [(name, style, groups) for name, style, column in kinds if (groups := curves.calibration_groups(parts, column))]
    column = kinds[len(series) - 1][2]
    return {"svg": plots.calibration(series, *curves.histogram(parts, column)), "legend": legend(series), "counted": series[-1][0]}


def distributions(numbers: dict, cuts: dict, task: str) -> dict | None:
    """The main model's predictions, apart for each outcome."""
    binary = "" in cuts
    names = {0: "without", 1: "with"} if binary else {level: f"{task} {level}" for level in range(len(cuts) + 1)}
    found = curves.by_outcome(cuts, names, numbers["score_only"])
    if found is None:
        return None
    groups, edges = found
    words = [{**group, "n": few(group["n"], "n = "), "style": "s0" if group["name"] != "without" else "s4"} for group in groups]
    known = [line["value"] for line in numbers["thresholds"] if line["value"] is not None]
    label = "score" if numbers["score_only"] else "predicted probability" if binary else "expected level"
    return {"svg": plots.distributions(words, edges, label, [statistics.median(known)] if known else []), "threshold": bool(known)}


def decision(content: dict, models: dict, task: str, shown: list[str]) -> dict:
    """Net benefit of the models that give probabilities, recalibrated where that is there."""
    series = []
    for model, style in zip(shown, STYLES, strict=False):
        if not content["models"][model][task]["score_only"]:
            parts = models[model][""]
            again = curves.net_benefit(parts, "recalibrated")
            series.append((model_name(model), style, curves.net_benefit(parts, "score") if again is None else again))
    everybody = curves.treat_all(models[shown[0]][""])
    return {"svg": plots.decision_curve(series, everybody), "legend": legend(series)}


def thresholds(content: dict, models: dict, task: str) -> dict:
    """What the main model's thresholds give on the test patients: Youden's, from validation, and a row for each of `POINTS`."""
    numbers, cuts = lead(content, task), models[main_model(content, task)]
    known = [line["value"] for line in numbers["thresholds"] if line["value"] is not None]
    low, high = (min(0.0, *known, 0), max(1.0, *known, 1)) if known else (0.0, 1.0)
    rows = []
    if known:
        name = f"Youden, median {show(statistics.median(known), 2)}"
        rows.append({"name": name, "rates": rates(numbers), "called": "–", "benefit": "–"})
    for point in operating_points(cuts) if "" in cuts and not numbers["score_only"] else ():
        called, benefit = share(point["called"]), show(point["benefit"], sign=True)
        rows.append({"name": show(point["threshold"], 2), "rates": rates(point), "called": called, "benefit": benefit})
    return {
        "rows": rows,
        "strip": plots.strip(known, low, high) if known else "",
        "folds": [{**line, "value": show(line["value"])} for line in numbers["thresholds"]],
    }


def operating_points(cuts: dict) -> list[dict]:
    """At `POINTS` of the recalibrated probability, or of the raw one where there is no other."""
    return curves.operating_points(cuts[""], "recalibrated", POINTS) or curves.operating_points(cuts[""], "score", POINTS)


def rates(numbers: dict) -> list[str]:
    return [share(numbers[name]) for name in ("sensitivity", "specificity", "ppv", "npv")]


def learning(text: str) -> list[tuple]:
    """(part, picture) of each part in `metrics.jsonl`."""
    return [(part, plots.learning(kinds, part)) for part, kinds in sorted(curves.learning(text).items())]


def flatten(config: dict, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, value) of every leaf of the config."""
    found = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        found += flatten(value, f"{name}.") if isinstance(value, dict) and value else [(name, str(value))]
    return found


def reproducibility(run: dict, digest: str) -> dict:
    """What repeats the run: commands, devices, versions, hashes of what was read. digest: sha256 of `predictions.csv`."""
    devices, last = run.get("devices", ""), run.get("last_used", {})
    hashes = [(PLAIN.get(name, f"records of {name}"), str(value)) for name, value in run.get("records", {}).items()]
    return {
        "command": run.get("command", ""),
        "again": last.get("command", "") if last.get("command") != run.get("command") else "",
        "devices": ", ".join(map(str, devices)) if isinstance(devices, list) else str(devices),
        "versions": list(run.get("versions", {}).items()),
        "changed": [(name, value) for name, value in last.get("versions", {}).items() if value != run.get("versions", {}).get(name)],
        "hashes": [*hashes, ("predictions.csv", digest)],
    }
