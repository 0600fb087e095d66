"""The report's sections below the table of models: figures, thresholds, learning curves, config, what repeats the run."""

import statistics

import numpy as np

from jaxstroke.evaluation import curves, plots
from jaxstroke.evaluation.predictions import REGRESSIONS
from jaxstroke.evaluation.wording import few, kind_of, lead, main_model, model_name, share, show, span

STYLES = ("s0", "s1", "s2", "s3", "s4", "s5")
MOST_CURVES = 4
POINTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # probabilities at which the table of thresholds has a row
PREDICTION = {"binary": "predicted probability", "ordinal": "expected level", "classes": "probability of the true class"}
PLAIN = {"table": "table of patients", "splits": "splits.json"}  # what `run.json` hashes beside the records of images


def shown_models(content: dict, task: str) -> list[str]:
    """The few models whose curves are drawn: the main one, its comparators, a column that is no reader's calls (those are dots)."""
    known = [model for model, tasks in content["models"].items() if task in tasks]
    read = {line["model"] for line in content["readers"] if line["task"] == task}
    columns = [model for model in known if model.startswith("column:") and "_without_" not in model and model not in read]
    wanted = [main_model(content, task), *REGRESSIONS, f"column:{content['attainable']}", *columns]
    return [model for model in dict.fromkeys(wanted) if model in known][:MOST_CURVES]


def figures(content: dict, models: dict, task: str) -> dict:
    """{"roc", "calibration", "decision", "distributions"}: a picture and its legend [(style, name)], None where it has no meaning."""
    shown = shown_models(content, task)
    numbers, cuts = content["models"][shown[0]][task], models[shown[0]]
    read = [line for line in content["readers"] if line["task"] == task and line["cuts"]]
    found = {
        "roc": roc(numbers, models, task, shown, read),
        "calibration": None,
        "decision": None,
        "distributions": distributions(numbers, cuts, task),
    }
    if "" in cuts and not numbers["score_only"]:
        found |= {"calibration": calibration(cuts[""]), "decision": decision(content, models, task, shown)}
    elif kind_of(numbers) == "classes" and not numbers["score_only"]:
        found["calibration"] = calibration_of_classes(cuts)
    return found


def roc(numbers: dict, models: dict, task: str, shown: list[str], read: list[dict]) -> dict:
    """The models' mean curves and the readers' points, numbered; of a task with levels or classes the main model's, a curve each."""
    cuts = models[shown[0]]
    if "" in cuts:
        series = [(model_name(model), style, curves.mean_roc(models[model][""])) for model, style in zip(shown, STYLES, strict=False)]
    else:
        several = kind_of(numbers) == "classes"
        names = [f"{cut}, against the rest" if several else f"{task} ≥ {cut}" for cut in cuts]
        each = zip(names, cuts.values(), strict=True)
        series = [(name, STYLES[place % 6], curves.mean_roc(parts)) for place, (name, parts) in enumerate(each)]
    dots = [
        (str(number), called_words(line, cut), 1 - cut["specificity"]["value"], cut["sensitivity"]["value"])
        for number, line in enumerate(read, 1)
        for cut in line["cuts"]
    ]
    numbered = [(number, reader_name(line["model"])) for number, line in enumerate(read, 1)]
    return {"svg": plots.roc(series, dots), "legend": legend(series), "readers": numbered}


def legend(series: list[tuple]) -> list[tuple[str, str]]:
    return [(style, name) for name, style, _ in series]


def calibration(parts: list) -> dict:
    """The main model's groups, raw and recalibrated, and how many patients were given each probability."""
    kinds = (("raw", "s4", "score"), ("recalibrated", "s0", "recalibrated"))
    series = [(name, style, groups) for name, style, column in kinds if (groups := curves.calibration_groups(parts, column))]
    column = kinds[len(series) - 1][2]
    return {"svg": plots.calibration(series, *curves.histogram(parts, column)), "legend": legend(series), "counted": series[-1][0]}


def calibration_of_classes(cuts: dict) -> dict:
    """A curve a class, recalibrated where that is there, and how many probabilities of a size went to patients' own class and to others."""
    every = [part for parts in cuts.values() for part in parts]
    counted, column = ("recalibrated",) * 2 if all(np.isfinite(part.recalibrated).all() for part in every) else ("raw", "score")
    series = [(name, STYLES[place % 6], curves.calibration_groups(parts, column)) for place, (name, parts) in enumerate(cuts.items())]
    counts = [curves.histogram(parts, column) for parts in cuts.values()]
    edges, without, having = counts[0][0], sum(one[1] for one in counts), sum(one[2] for one in counts)
    return {"svg": plots.calibration(series, edges, without, having), "legend": legend(series), "counted": counted}


def distributions(numbers: dict, cuts: dict, task: str) -> dict | None:
    """The main model's predictions, apart for each outcome."""
    kind = kind_of(numbers)
    if kind == "classes":
        found = None if numbers["score_only"] else curves.of_true_class(cuts)
    else:
        names = {0: "without", 1: "with"} if kind == "binary" else {level: f"{task} {level}" for level in range(len(cuts) + 1)}
        found = curves.by_outcome(cuts, names, numbers["score_only"])
    if found is None:
        return None
    groups, edges = found
    words = [{**group, "n": few(group["n"], "n = "), "style": "s0" if group["name"] != "without" else "s4"} for group in groups]
    known = [line["value"] for line in numbers["thresholds"] if line["value"] is not None]
    label = "score" if numbers["score_only"] else PREDICTION[kind]
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


def readers(content: dict, task: str) -> dict:
    """{"rows": a row for each point of a reader, "agreement": a row for each kappa}; values as (estimate, interval)."""
    rows = [
        {
            "name": called_words(line, cut), "patients": few(line["patients"]), "network": share(cut["network_sensitivity"]),
            "sensitivity": percent(cut["sensitivity"]), "specificity": percent(cut["specificity"]),
            "difference": percent(cut["difference"], sign=True),
        }
        for line in content["readers"] if line["task"] == task for cut in line["cuts"]
    ]  # fmt: skip
    names = {"cohen": {"none": "Cohen", "quadratic": "Cohen, quadratic weights"}, "fleiss": {"none": "Fleiss"}}
    agreement = [
        {
            "names": ", ".join(map(reader_name, line["models"])), "statistic": names[line["statistic"]][line["weights"]],
            "patients": few(line["patients"]), "kappa": (show(line["kappa"]["value"], 2), span(line["kappa"]["ci95"], 2)),
        }
        for line in content["agreement"] if line["task"] == task
    ]  # fmt: skip
    return {"rows": rows, "agreement": agreement}


def called_words(line: dict, cut: dict) -> str:
    """A reader, and where there is more than one point, which grades are called."""
    return reader_name(line["model"]) + (f" (≥ {cut['cut']})" if len(line["cuts"]) > 1 else "")


def reader_name(model: str) -> str:
    """A column in plain words, where nothing but columns stands."""
    return model.removeprefix("column:").replace("_", " ")


def percent(numbers: dict, sign: bool = False) -> tuple[str, str]:
    """(estimate, interval) of shares, as percent."""
    value, limits = numbers["value"], numbers["ci95"]
    return show(None if value is None else 100 * value, 1, sign), span(limits and [100 * limit for limit in limits], 1, sign)


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


def reproducibility(run: dict, new: dict, digest: str) -> dict:
    """What repeats the run: commands, devices, versions, hashes of what was read. digest: sha256 of `predictions.csv`.

    new: of `external.json`, {} without: then command and hashes of the run are told as those of the training that they are of.
    """
    told, of_training = new.get("table"), ", training" if new else ""
    devices, last = run.get("devices", ""), run.get("last_used", {})
    hashes = [(PLAIN.get(name, f"records of {name}") + of_training, str(value)) for name, value in run.get("records", {}).items()]
    return {
        "command": run.get("command", ""),
        "again": last.get("command", "") if last.get("command") != run.get("command") else "",
        "devices": ", ".join(map(str, devices)) if isinstance(devices, list) else str(devices),
        "versions": list(run.get("versions", {}).items()),
        "changed": [(name, value) for name, value in last.get("versions", {}).items() if value != run.get("versions", {}).get(name)],
        "hashes": [*hashes, *([(PLAIN["table"], str(told))] if told else []), ("predictions.csv", digest)],
    }
