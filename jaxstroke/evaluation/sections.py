"""The report's sections below the table of models: figures, thresholds, learning curves, missing values, config."""

from jaxstroke.evaluation import curves, plots
from jaxstroke.evaluation.wording import lead, main_model, model_name, show

STYLES = ("s0", "s1", "s2", "s3", "s4", "s5")
MOST_CURVES = 4


def shown_models(content: dict, task: str) -> list[str]:
    """The few models whose curves are drawn: the main one, its comparators, a column."""
    known = [model for model, tasks in content["models"].items() if task in tasks]
    columns = [model for model in known if model.startswith("column:") and "_without_" not in model]
    wanted = [main_model(content, task), "clinical_logistic", "clinical_volume_logistic", f"column:{content['attainable']}", *columns]
    return [model for model in dict.fromkeys(wanted) if model in known][:MOST_CURVES]


def figures(content: dict, models: dict, task: str) -> dict:
    """{"roc", "calibration", "decision"}: each a picture and its legend [(style, name)], None where it has no meaning."""
    shown = shown_models(content, task)
    cuts = models[shown[0]]
    if "" not in cuts:
        series = [(f"{task} ≥ {cut}", STYLES[place % 6], curves.mean_roc(parts)) for place, (cut, parts) in enumerate(cuts.items())]
        return {"roc": {"svg": plots.roc(series), "legend": legend(series)}, "calibration": None, "decision": None}
    series = [(model_name(model), style, curves.mean_roc(models[model][""])) for model, style in zip(shown, STYLES, strict=False)]
    roc = {"svg": plots.roc(series), "legend": legend(series)}
    if content["models"][shown[0]][task]["score_only"]:
        return {"roc": roc, "calibration": None, "decision": None}
    return {"roc": roc, "calibration": calibration(cuts[""]), "decision": decision(content, models, task, shown)}


def legend(series: list[tuple]) -> list[tuple[str, str]]:
    return [(style, name) for name, style, _ in series]


def calibration(parts: list) -> dict:
    """The main model's groups, raw and recalibrated."""
    kinds = (("raw", "s4", "score"), ("recalibrated", "s0", "recalibrated"))
    series = [(name, style, groups) for name, style, column in kinds if (groups := curves.calibration_groups(parts, column))]
    return {"svg": plots.calibration(series), "legend": legend(series)}


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


def thresholds(content: dict, task: str) -> dict:
    """Youden thresholds of the main model, and what they give on the test patients."""
    numbers = lead(content, task)
    known = [line["value"] for line in numbers["thresholds"] if line["value"] is not None]
    names = ("sensitivity", "specificity", "balanced_accuracy", "accuracy", "ppv", "npv")
    plain = {"balanced_accuracy": "balanced accuracy", "ppv": "positive predictive value", "npv": "negative predictive value"}
    low, high = (min(0.0, *known, 0), max(1.0, *known, 1)) if known else (0.0, 1.0)
    return {
        "rates": [(plain.get(name, name), show(numbers[name])) for name in names],
        "strip": plots.strip(known, low, high) if known else "",
        "folds": [{**line, "value": show(line["value"])} for line in numbers["thresholds"]],
    }


def learning(text: str) -> list[tuple]:
    """(part, picture) of each part in `metrics.jsonl`."""
    return [(part, plots.learning(kinds, part)) for part, kinds in sorted(curves.learning(text).items())]


def missing(cohort: dict) -> list[dict]:
    """{"name", "n", "share"} of every image and column, most missing first."""
    total = cohort.get("n", 0)
    found = [{"name": name, "n": n, "share": 100 * n / total if total else 0.0} for name, n in cohort.get("missing", {}).items()]
    return sorted(found, key=lambda row: (-row["n"], row["name"]))


def flatten(config: dict, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, value) of every leaf of the config."""
    found = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        found += flatten(value, f"{name}.") if isinstance(value, dict) and value else [(name, str(value))]
    return found


def facts(run: dict) -> list[tuple[str, str]]:
    """Command, devices, versions and hashes of records: what repeats the run."""
    devices = run.get("devices", "")
    found = [("command", run.get("command", "")), ("devices", ", ".join(map(str, devices)) if isinstance(devices, list) else str(devices))]
    found += [(name, str(version)) for name, version in run.get("versions", {}).items()]
    found += [(f"records of {name}", str(digest)) for name, digest in run.get("records", {}).items()]
    return [(name, value) for name, value in found if value]
