"""The report in a browser: nothing in the console, no request, nothing wider than the page, and it prints.

Needs selenium (extra `browser`), Chromium and its driver (Debian: chromium, chromium-driver); skipped with the reason where one is absent.
"""

import base64
import json
import re
import shutil

import pandas as pd
import pytest

from jaxstroke.evaluation import predictions, report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[browser]'")
BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome", "chrome"), ("chromedriver", "chromium.chromedriver")
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
PAPER = 688  # pixels of 96 an inch between the margins of A4
WIDTHS = (1280, 390)
MODELS = ("network", "rule:learned_nihss", "module:dwi", "clinical_logistic", "clinical_volume_logistic", "column:a_long_name_of_a_column")
READERS = ("column:first_radiologist", "column:second_radiologist", "column:third_radiologist")

# Elements that reach over the right edge of the page, but for what lies in a box that scrolls or is not shown.
WIDER = """
const right = document.documentElement.clientWidth + 1;
return [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility() && !e.closest('.scroll *, svg *')
  && e.getBoundingClientRect().right > right).map(e => e.outerHTML.slice(0, 120));
"""
SCROLLING = """
return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.ariaLabel}: ${e.scrollWidth} in ${e.clientWidth}`);
"""
SMALLEST = """
return Math.min(...[...document.querySelectorAll('svg.figure text')]
  .map(e => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getScreenCTM().a));
"""


def found(names: tuple[str, ...], package: str) -> str:
    path = next((path for name in names if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no {names[0]} on the path: install the package {package}")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found(BROWSERS, "chromium")
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(found(DRIVERS, "chromium-driver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory, simulated):
    """A report with every section filled, and with words, names and paths of awkward length."""
    folder = tmp_path_factory.mktemp("run")
    frame = simulated(patients=200, folds=5, ordinal=True, models=(*MODELS, *READERS))
    grades = (4 * frame["probability"]).round()
    frame["probability"] = frame["probability"].mask(frame["model"].isin(READERS), grades)
    predictions.write(folder / "predictions.csv", frame)
    config = {
        "model": {"name": "mri_cnn_lstm"}, "evaluate": {"bootstrap": 60, "attainable": "", "primary": "poor"},
        "cohort": {"outcomes": {"poor": ["modified_rankin_scale_at_90_days", ">", 2], "mrs": ["mrs", "ordinal", [1, 2, 3]]}},
        "images": {"dwi": {"shape": [8, 24, 24]}}, "clinical": {"numeric": ["age"], "categorical": {"sex": []}},
    }  # fmt: skip
    command = f"python -m jaxstroke.main --config configs/mri_cnn_lstm.py:own --workdir /{'long/' * 40}run"
    run = {"config": config, "versions": {"jaxstroke": "0.1.0", "jax": "0.10.2"}, "devices": ["cpu:0"], "command": command}
    (folder / "run.json").write_text(json.dumps(run | {"records": {"dwi": "8e42" * 16, "splits": "72ad" * 16}}))
    lines = [{"run": "r0-f0-s0", "epoch": epoch, "train_loss": {"dwi": 1 / (1 + epoch)}, "val_loss": {"dwi": 0.5}} for epoch in range(9)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    numbers = dict.fromkeys(("all", "without", "with"), [200, 1061.25, 1070.5, 1080.75])
    levels = {f"a level with a name of some length {place}": dict.fromkeys(numbers, 60) for place in range(3)}
    shown = [{"name": "age", "numbers": numbers}, {"name": "stroke_type", "levels": levels, "known": dict.fromkeys(numbers, 180)}]
    flow = [["rows in the table", 260], ["without outcome", -40], ["incomplete: an image with a long name", -20], ["used", 200]]
    cohort = {"flow": flow, "missing": {"dwi": 12, "age": 0}, "n": 200, "characteristics": shown}
    (folder / "cohort.json").write_text(json.dumps(cohort))
    ids = sorted(set(frame["unit_id"]))
    groups = pd.DataFrame({"unit_id": ids, "column": "hospital", "group": [f"Hospital number {place % 4}" for place in range(200)]})
    groups.to_csv(folder / "subgroups.csv", index=False)
    (folder / "prepare_report.csv").write_text(f"patient_id,image,path,reason\n007,dwi,{'scans/' * 30}b.nii,{'truncated ' * 9}\n")
    return report.write_report(folder)


def opened(browser, page, width: int, scheme: str = "light", media: str = ""):
    """The page at a width in CSS pixels, colours light or dark, on screen or (media) as printed."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chosen = {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", chosen)
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what came before is no concern of this page
    browser.get(page.as_uri() if hasattr(page, "as_uri") else f"file://{page}")


def unfold(browser):
    browser.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true })")


@pytest.mark.parametrize("width", WIDTHS)
def test_console_is_silent_and_nothing_is_wider_than_the_page(browser, page, width):
    opened(browser, page, width)
    for folded in (True, False):
        if not folded:
            unfold(browser)
        assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
        assert browser.execute_script(WIDER) == []
    assert browser.execute_script(SCROLLING) == []  # ordinary tables fit; the box scrolls where names leave no room
    assert browser.execute_script(SMALLEST) >= 9  # pixels of the smallest letters in a figure
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_section_is_there_and_takes_room(browser, page, width):
    opened(browser, page, width)
    sections = browser.execute_script(
        "return [...document.querySelectorAll('section, figure')].map(e => [e.id, e.checkVisibility() && e.getBoundingClientRect().height])"
    )
    names = {name for name, _ in sections}
    assert {"summary", "patients", "missing", "models", "paired", "roc", "calibration", "decision", "distributions"} <= names
    assert {"thresholds", "subgroups", "readers", "learning", "methods", "reproducibility", "tripod"} <= names
    assert all(height > 40 for _, height in sections)
    drawn = browser.execute_script("return [...document.querySelectorAll('figure svg.figure')].map(e => e.getBoundingClientRect().height)")
    assert len(drawn) == 5 and min(drawn) > 100  # ROC, calibration, net benefit, distributions, one learning curve


def test_numbers_of_a_column_end_at_one_place(browser, page):
    """Right edges of the cells of every column of numbers, on a wide page."""
    opened(browser, page, WIDTHS[0])
    edges = browser.execute_script(
        """return [...document.querySelectorAll('table')].filter(t => t.checkVisibility()).map(t => {
          const columns = {};
          for (const cell of t.querySelectorAll('tbody td.number')) {
            const range = document.createRange(); range.selectNodeContents(cell);
            (columns[cell.cellIndex] ??= new Set()).add(Math.round(range.getBoundingClientRect().right));
          }
          return Object.values(columns).map(found => found.size);
        })"""
    )
    assert sum(map(len, edges)) > 15 and {size for table in edges for size in table} == {1}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_readers_colours(browser, page, scheme):
    opened(browser, page, WIDTHS[0], scheme)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper)))
    assert brightness == 3 * 255 if scheme == "light" else brightness < 100


def test_no_request_is_made(browser, page):
    opened(browser, page, WIDTHS[0])
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [line["params"]["request"]["url"] for line in messages if line["method"] == "Network.requestWillBeSent"]
    assert asked and all(url.startswith(("file://", "data:")) for url in asked)


def test_it_prints(browser, page):
    """A4: several pages, light whatever the reader's colours, nothing over the margin."""
    opened(browser, page, PAPER, "dark", "print")
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= PAPER
    assert browser.execute_script(WIDER) == [] and browser.execute_script(SCROLLING) == []
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not browser.execute_script("return document.querySelector('nav').checkVisibility()")
    opened(browser, page, WIDTHS[0])
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF") and 4 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) <= 30
    boxes = set(re.findall(rb"/MediaBox\s*\[([^]]*)\]", content))
    assert {tuple(round(float(side)) for side in box.split()) for box in boxes} == {(0, 0, 595, 842)}
