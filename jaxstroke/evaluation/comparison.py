"""`comparison.csv` and `comparison.html` of a study, from the files of its variants alone: no JAX.

Read: `variants.json` and `run.json` of the study, `predictions.csv` of every variant. The network of each variant becomes a model of one
table, under the variant's name, so that all are scored on the same patients, folds and resamples, and the first against every other.
"""

import json

import pandas as pd
from etils import epath

from jaxstroke.errors import InputError
from jaxstroke.evaluation import files, metrics, predictions, report, story, wording
from jaxstroke.evaluation.delong import holm
from jaxstroke.evaluation.wording import show

COST = {"parameters": int, "training_seconds": int | float, "networks_of": list}  # of `cost.json` of a variant
COLUMNS = (
    "task", "variant", "kind", "n", "events", "auc", "auc_low", "auc_high", "auprc", "brier", "slope", "sensitivity", "specificity",
    "balanced_accuracy", "reference", "difference", "difference_low", "difference_high", "p_delong", "p_holm", "parameters",
    "training_seconds", "networks_of", "changes",
)  # fmt: skip


def write(workdir: epath.Path) -> dict:
    """Both files; what they are made of: as `metrics.json`, with the variants' names for models, and `variants`."""
    run, variants = files.read_run(workdir), read_variants(workdir)
    frames = {line["name"]: files.read_frame(workdir / "variants" / line["name"]) for line in variants}
    evaluate = run["config"]["evaluate"]
    content = compute(frames, int(evaluate["bootstrap"]), evaluate["attainable"]) | {"variants": variants}
    content["primary"] = wording.task_order(content, run)[0]
    files.write_text(
        workdir / "comparison.csv", pd.DataFrame(table(content), columns=list(COLUMNS)).to_csv(index=False, float_format="%.9g")
    )
    files.write_text(workdir / "comparison.html", report.page("comparison.html.j2", tell(content, run)))
    return content


def read_variants(workdir: epath.Path) -> list[dict]:
    """The lines of `variants.json`, the first variant first."""
    path = workdir / "variants.json"
    found = files.read_json(path).get("variants") if path.exists() else None
    kinds = {"name": str, "changes": dict} | COST
    if not isinstance(found, list) or not found or not all(is_of(line, kinds) for line in found):
        raise InputError(f"{path} is not there or not as it was written: --mode compare writes it")
    return found


def is_of(line, kinds: dict) -> bool:
    """Whether it has these keys, each with a value of its kind."""
    return isinstance(line, dict) and all(isinstance(line.get(key), kind) for key, kind in kinds.items())


def compute(frames: dict[str, pd.DataFrame], resamples: int, attainable: str = "") -> dict:
    """As `metrics.compute`, of every variant's network, and of the first one's comparators. frames: {variant: predictions}."""
    first = next(iter(frames))
    beside = frames[first][frames[first]["model"].isin([*predictions.REGRESSIONS, f"column:{attainable}"])]
    networks = [frame[frame["model"] == "network"].assign(model=name) for name, frame in frames.items()]
    content = metrics.compute(pd.concat([*networks, beside], ignore_index=True), resamples, attainable, first=first)
    for task in {line["task"] for line in content["paired"]}:
        lines = [line for line in content["paired"] if line["task"] == task and not line["b"].startswith("column:")]
        for line, p in zip(lines, holm([line["p_delong"] for line in lines]), strict=True):
            line["p_holm"] = p
    return content | {"first": first}


def table(content: dict) -> list[dict]:
    """Rows of `comparison.csv`: every variant and comparator on every task, differences as the row's AUC minus the reference's."""
    costs = {line["name"]: line for line in content["variants"]}
    paired = {(line["task"], line["b"]): line for line in content["paired"]}
    rows = []
    for task in dict.fromkeys(task for tasks in content["models"].values() for task in tasks):
        for model, tasks in content["models"].items():
            if task not in tasks or model.startswith("column:"):
                continue
            numbers, line, cost = tasks[task], paired.get((task, model), {}), costs.get(model, {})
            low, high = numbers["auc"]["ci95"] or (None, None)
            difference, bounds = line.get("auc_difference"), line.get("ci95") or (None, None)
            rows.append({
                "task": task, "variant": model, "kind": "variant" if model in costs else "comparator", "n": numbers["n"],
                "events": numbers["events"], "auc": numbers["auc"]["value"], "auc_low": low, "auc_high": high, "auprc": numbers["auprc"],
                "brier": numbers["brier"], "slope": numbers["calibration"]["slope"],
                **{name: numbers[name] for name in ("sensitivity", "specificity", "balanced_accuracy")},
                "reference": line.get("a", ""), "difference": None if difference is None else -difference,
                "difference_low": None if bounds[1] is None else -bounds[1], "difference_high": None if bounds[0] is None else -bounds[0],
                "p_delong": line.get("p_delong"), "p_holm": line.get("p_holm"), "parameters": cost.get("parameters"),
                "training_seconds": cost.get("training_seconds"), "networks_of": " ".join(cost.get("networks_of", ())),
                "changes": json.dumps(cost.get("changes", {}), ensure_ascii=False) if cost else "",
            })  # fmt: skip
    return rows


def tell(content: dict, run: dict) -> dict:
    """Everything the page reads."""
    tasks = [story.task_story(content, task) for task in wording.task_order(content, run)]
    for task in tasks:
        for rows in (task["rows"], task["paired"]["rows"]):
            rows[:] = [row for row in rows if "column:" not in row["model"]]
    primary = tasks[0]
    return {
        "title": run["config"]["model"]["name"], "primary": primary["name"], "outcome": wording.outcome_words(run, primary["name"]),
        "outcomes": {task["name"]: wording.outcome_words(run, task["name"]) for task in tasks}, "size": primary["size"],
        "first": content["first"], "tasks": tasks, "sentences": sentences(content, primary), "costs": costs(content),
        "bootstrap": content["bootstrap"], "command_line": run.get("last_used", run).get("command", ""),
        "versions": list(run.get("versions", {}).items()),
    }  # fmt: skip


def sentences(content: dict, task: dict) -> list[str]:
    """What the primary task's table allows to say, no more."""
    rows = task["paired"]["rows"]
    limited = [row for row in rows if row["difference_limits"]]
    clear = [row for row in limited if row["difference_limits"][0] > 0 or row["difference_limits"][1] < 0]
    better = [row["name"] for row in clear if row["difference"] > 0]
    worse = [row["name"] for row in clear if row["difference"] < 0]
    lead = task["rows"][0]
    auc = f"an AUC of {lead['auc']} ({lead['ci95']})" if lead["limits"] else "no AUC with an interval on these patients"
    found = [f"{content['first']} has {auc}."]
    for names, word in ((better, "above"), (worse, "below")):
        if names:
            found.append(f"The interval of the difference lies {word} zero for {', '.join(names)}.")
    open_rows = [row["name"] for row in limited if row not in clear]
    if open_rows:
        found.append(
            f"For {', '.join(open_rows)} the difference's interval holds zero: these patients do not tell them from {content['first']}."
        )
    bare = [row["name"] for row in rows if row not in limited]
    if bare:
        found.append(f"For {', '.join(bare)} the difference has no interval.")
    best = content["models"].get(content["first"], {}).get(task["name"], {}).get("attainable_auc")
    return found + ([f"On these very patients the true log-odds reach {show(best)}."] if best is not None else [])


def costs(content: dict) -> list[dict]:
    """The table of what each variant changes and costs."""
    return [
        {
            "name": line["name"], "changes": list(line["changes"].items()), "parameters": f"{line['parameters']:,}",
            "seconds": f"those of {', '.join(line['networks_of'])}" if line["networks_of"] else f"{line['training_seconds']:,.0f} s",
        }
        for line in content["variants"]
    ]  # fmt: skip


def console_table(content: dict) -> str:
    """The primary task's rows as aligned text for a terminal."""
    task = content["primary"]
    rows = [("variant", "AUC", "95 % interval", "minus first's", "95 % interval", "p", "p Holm")]
    for row in story.model_rows(content, task):
        if not row["model"].startswith("column:"):
            rows.append(tuple(row[key] for key in ("name", "auc", "ci95", "against", "against_ci95", "p", "p_holm")))
    return "\n".join([f"{task}: {wording.size_words(content, task)}", *report.aligned(rows)])
