"""The page of a study without its runs: what its sentences claim where an interval is narrow, wide or not there."""

from jaxstroke.evaluation import comparison


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
        "For same it holds zero: these patients do not tell them from all.",
        "For bare the difference has no interval.",
    ]


def test_a_study_without_an_interval_has_none_in_words():
    task = {"name": "poor", "rows": [variant_row("all", 0.0, None) | {"limits": None}], "paired": {"rows": []}}
    assert comparison.sentences({"first": "all", "models": {}}, task) == ["all has no AUC with an interval on these patients."]
