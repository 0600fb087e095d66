"""The report on a patient's page: as text whoever wrote it, who that was, and by word where it looks."""

import re

import numpy as np
import pytest

from jaxstroke.explain import page, report, told, words
from jaxstroke.preprocess import wordpiece

TEXT = "Side: left & right.\nSize: <b>large</b>, 12.4 ml."
GRID = np.diag([10.0, -10.0, 10.0, 1.0])  # stored (s, h, w) to mm
EVIL = '</p><script>alert("1")</script>" onclick="alert(1)'


@pytest.fixture
def config(trimodal_file):
    found = trimodal_file.get_config("smoke").unlock()
    found.text.length = 64
    return found


def said(text: str, own: bool = True, **line) -> report.Said:
    parts = report.sections(text)
    line = {"text": text, "failure": "", "provenance": {"generator": "given"}} | line
    return report.Said(text, report.words(text, parts), parts, (wordpiece.fit([TEXT, EVIL], 128),), own, line)


def looks(one: report.Said, most: int = 2, grid=GRID) -> words.Looks:
    """Of words that look at one place each, the later ones more."""
    values = np.full((len(one.words), 2, 4, 4), 0.5)
    values[:, 1, 2, 0] = 1.0 + np.arange(len(one.words))
    count = len(one.words)
    return words.of_values(one.words, values, np.full(count, 0.25), np.ones(count, int), most, (4, 8, 8), grid)


def page_of(text: dict, contributions=()) -> str:
    return page.render("007", "One network.", [], [], list(contributions), 0.45, (), text)


def plain(html: str) -> str:
    """The report's section without its markup."""
    inner = re.search(r'<div class="text">(.*?)</div>', html, re.S)[1]
    return re.sub(r"<[^>]*>", "", inner)


def test_the_report_is_printed_as_it_is_in_its_sections(config):
    one = said(TEXT)
    html = page_of(told.shown(config, one, {"flair": looks(one)}))
    assert "Side: left &amp; right.\n" in plain(html) and "Size: &lt;b&gt;large&lt;/b&gt;, 12.4 ml." in plain(html)
    assert html.count("<p>", html.index('<div class="text">'), html.index("</div>", html.index('<div class="text">'))) == 2
    assert re.findall(r'<button[^>]*data-map="([^"]*)"', html) == ["word: 12.4", "word: ml"]
    (first,) = re.findall(r'<button[^>]*data-map="word: 12.4" data-says="([^"]*)"', html)
    assert first == "flair: 25 % of its attention, most at right 25, back 45, up 5 mm, 6.0 times the average"


@pytest.mark.parametrize("shown", [True, False])
def test_a_strangers_text_cannot_become_markup(config, shown):
    one = said(EVIL, provenance={"generator": "llm", "model": EVIL, "prompt": "ab", "temperature": 0.0, "cached": True})
    html = page_of(
        told.shown(config, one, {EVIL: looks(one, 9)} if shown else {}), [page.Contribution(EVIL, EVIL, None, None, 0.1, "report")]
    )
    assert "alert(&#34;1&#34;)" in plain(html).replace("&quot;", "&#34;")
    assert html.count("<script>") == 1 and 'onclick="' not in html and "</p><" + "script>" not in html  # ours alone


def test_who_wrote_it_is_told(config):
    llm = {"generator": "llm", "model": "some/model", "url": "http://secret:1", "prompt": "0123456789abcdef", "temperature": 0.2}
    config.text.mask = "lesion"
    assert report.written_by(config, {"provenance": {"generator": "given"}}) == "From the table, column 'report'."
    assert "mask 'lesion'" in report.written_by(config, {"provenance": {"generator": "template"}})
    fresh = report.written_by(config, {"provenance": llm | {"cached": False, "attempts": 2, "requests": 3}})
    assert fresh == "By the language model some/model: prompt 0123456789ab, temperature 0.2, attempts 2, requests 3."
    assert "kept from before" in report.written_by(config, {"provenance": llm | {"cached": True, "attempts": 0, "requests": 0}})
    html = page_of(told.shown(config, said(TEXT, provenance=llm | {"cached": True}), {}))
    assert "some/model" in html and "secret" not in html


def test_why_there_is_none_is_told(config):
    html = page_of(told.shown(config, said("", failure="not made in 4 attempts: <busy>"), {}))
    assert "There is none: not made in 4 attempts: &lt;busy&gt;." in html and '<div class="text">' not in html


def test_words_that_were_cut_off_and_reports_that_were_not_read_are_marked(config):
    config.text.length = 8
    html = page_of(told.shown(config, said(TEXT), {}))
    assert "words were not read, those in grey: config.text.length is 8 tokens" in html
    assert re.search(r'<span class="unread"[^>]*>ml</span>', html) and not re.search(r'<span class="unread[^>]*>Side</span>', html)
    config.text.control = "shuffled"
    html = page_of(told.shown(config, said(TEXT, own=False), {}))
    assert "have not read this report: config.text.control = &#39;shuffled&#39;" in html and "unread" not in plain(html)


def test_the_background_says_how_much_a_word_looks_at_one_place(config):
    one = said("one two three four five six seven eight nine")
    found = {"flair": looks(one), "lesion": looks(one)}
    strengths = [told.strength(place, found) for place in range(9)]
    assert strengths[0] == 0 and strengths[1] == pytest.approx(1 / 3) and strengths[7] == strengths[8] == 1
    assert told.strength(3, {}) == 0


def test_of_pictures_the_number_is_told(config):
    one = said("one")
    assert told.spot(looks(one, grid=None), 0) == "image 4, row 6, column 2"


def test_what_is_taken_away_stands_apart_from_what_sums(config):
    column = page.Contribution("poor", "age", 70, 65, 0.3)
    taken = [page.Contribution("poor", name, None, None, -0.6, "report") for name in (report.WHOLE, "section side (taken away)")]
    html = page_of(told.shown(config, said(TEXT), {}), [column, *taken])
    first, second = re.findall(r"<tbody.*?</tbody>", html, re.S)
    assert "age" in first and "taken away" not in first and second.count("<tr>") == 2 and "report (taken away)" in second
    assert "What the columns and the report add to poor" in html and "the same report" in html and "no part of that sum" in html
    alone = page_of(told.shown(config, said(TEXT), {}), taken)
    assert "What the report adds to poor" in alone and "Integrated gradients" not in alone
    without = page.render("007", "One network.", [], [], [column], 0.45)
    assert "What the columns add to poor" in without and "<h2>The report" not in without and "taken away" not in without
