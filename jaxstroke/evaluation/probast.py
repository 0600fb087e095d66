"""Risk of bias by the domains of PROBAST+AI (Moons et al. 2025, BMJ 388:e082505), in our own words, as far as the files of a run tell.

Every question is asked so that `yes` is the better answer; `no` says what is weak, `unclear` what the files do not tell. It helps those who
judge a study by the tool itself, and is no judgement in their place.
"""

import textwrap

from jaxstroke.evaluation.probast_analysis import analysis
from jaxstroke.evaluation.probast_facts import NO, UNCLEAR, YES, Answer, Facts
from jaxstroke.evaluation.probast_study import outcome, participants, predictors

DOMAINS = {"Participants and data sources": participants, "Predictors": predictors, "Outcome": outcome, "Analysis": analysis}
WIDTH = 120  # characters of a line in a terminal


def assess(facts: Facts) -> list[tuple[str, list[Answer]]]:
    """[(domain, answers)] in order."""
    return [(domain, ask(facts)) for domain, ask in DOMAINS.items()]


def counts(found: list[tuple[str, list[Answer]]]) -> str:
    """How many answers there are of each verdict."""
    verdicts = [answer.verdict for _, answers in found for answer in answers]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in (YES, NO, UNCLEAR))


def text(found: list[tuple[str, list[Answer]]]) -> str:
    """All answers as aligned text."""
    lines = [f"Risk of bias, after PROBAST+AI: {counts(found)}. 'yes' is the better answer."]
    for domain, answers in found:
        lines.append(domain)
        for answer in answers:
            lines.append(f"  {answer.verdict:<8} {answer.question}")
            lines += textwrap.wrap(answer.why, WIDTH, initial_indent=" " * 11, subsequent_indent=" " * 11)
    return "\n".join(lines)
