"""The page of a study without its runs: what its sentences claim where an interval is narrow, wide or not there."""

import re

from jaxstroke.evaluation import comparison, report, wording


def variant_row(name: str, difference: float, limits: list[float] | None) -> dict:
    return {
        "name": name,
        "auc": "0.700",
        "ci95": "0.600 to 0.800",
        "limits": [0.6, 0.8],
        "difference": difference,
        "difference_limits": limits,
    }


def test_a_sentence_claims_what_its_interval_allows():
    paired = [
        variant_row("up", 0.1, [0.02, 0.2]),
        variant_row("down", -0.1, [-0.2, -0.01]),
        variant_row("same", 0.01, [-0.1, 0.1]),
        variant_row("bare", 0.3, None),
    ]
    task = {"name": "poor", "rows": [variant_row("all", 0.0, None), *paired], "paired": {"rows": paired}}
    found = comparison.sentences({"first": "all", "models": {}}, task)
    assert found == [
        "all has an AUC of 0.700 (0.600 to 0.800).",
        "The interval of the difference lies above zero for up.",
        "The interval of the difference lies below zero for down.",
        "For same the difference's interval holds zero: these patients do not tell them from all.",
        "For bare the difference has no interval.",
    ]


def test_a_study_without_an_interval_has_none_in_words():
    task = {"name": "poor", "rows": [variant_row("all", 0.0, None) | {"limits": None}], "paired": {"rows": []}}
    assert comparison.sentences({"first": "all", "models": {}}, task) == ["all has no AUC with an interval on these patients."]


def test_a_task_that_the_first_variant_lacks_names_what_it_is_compared_with(simulated):
    frame = simulated(ordinal=True)
    both = frame[frame["model"] == "network"]
    content = comparison.compute({"base": frame[frame["task"] == "poor"], "two": both, "three": both}, 30)
    cost = {"changes": {}, "parameters": 5, "training_seconds": 1.0, "networks_of": []}
    content |= {"primary": "poor", "variants": [{"name": name} | cost for name in ("base", "two", "three")]}
    rules = {"poor": ["mrs", ">", 2], "mrs": ["mrs", "ordinal", [1, 2, 3]]}
    run = {"config": {"model": {"name": "m"}, "cohort": {"outcomes": rules}, "evaluate": {"primary": "poor"}}}
    page = report.page("comparison.html.j2", comparison.tell(content, run))
    differences = page[page.index('id="differences"') :]
    assert re.findall(r"<summary>(.*?)</summary>", differences) == [
        'mrs <span class="note">levels of mrs, cut at 1, 2, 3; less two, as base has not this task</span>'
    ]
    assert "−0.000" not in page  # a difference of none


def test_what_rounds_to_zero_has_no_minus():
    assert [wording.show(value, 2, sign=True) for value in (-0.0, -0.001, 0.001, -0.006)] == ["+0.00", "+0.00", "+0.00", "−0.01"]
    assert wording.show(-0.001, 2) == "0.00" and wording.show(None) == "–"
