"""A patient's page in headless Chromium: what a mouse and a keyboard do, and that nothing is fetched or wider than the screen."""

import json
import re
import shutil

import numpy as np
import pytest

from jaxstroke.explain import importance, page, strip

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[browser]'")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from selenium.webdriver.chrome.service import Service

    places = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in places:
        pytest.skip("no chromium and chromedriver on the path: install the packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = places[0]
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1000,1300"):
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(places[1]))
    yield browser
    browser.quit()


@pytest.fixture
def shown(driver, tmp_path):
    """A head of 0 HU with one bright and one hot cube: the page, loaded and drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    values = np.full((40, 40, 12), -1000, np.int16)
    values[5:35, 5:35] = 0
    values[8:14, 8:14, 3] = 80  # the patient's left and back: x and y grow to the right and to the front
    heat = np.zeros(values.shape, np.float32)
    heat[24:30, 24:30, 7] = 1.0
    image = page.Volume("ct", values, np.diag([1.0, 1, 2, 1]), {"first": heat, "second": heat[::-1]})
    added = page.Contribution("poor", "age", 70, 65, 0.3)
    html = page.render("007", "One network.", [page.Head("poor", "mRS > 2", 0.62, 0.5, 0.7)], [image], [added], 0.45)
    (tmp_path / "patient_007.html").write_text(html)
    driver.get((tmp_path / "patient_007.html").as_uri())
    WebDriverWait(driver, 20).until(lambda browser: browser.execute_script("return document.querySelector('.viewer').dataset.ready"))
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    requests = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in requests if one["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:", "chrome:"))] == []


def pixel(browser, row: float, column: float) -> list[int]:
    """Colour at shares of the canvas's height and width."""
    script = """const c = document.querySelector('canvas'), [row, column] = arguments;
    return [...c.getContext('2d').getImageData(Math.floor(column * c.width), Math.floor(row * c.height), 1, 1).data].slice(0, 3);"""
    return browser.execute_script(script, row, column)


def text(browser, name: str) -> str:
    return browser.execute_script("return document.querySelector(arguments[0]).textContent", name)


def test_slices_window_and_overlay_by_keyboard(shown):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    canvas = shown.find_element(By.TAG_NAME, "canvas")
    assert text(shown, ".slice-number") == "8 of 12"  # where the map is
    hot = (1 - 27 / 40, 1 - 27 / 40)  # x to the right is on the left, y to the front is up
    red, _, blue = pixel(shown, *hot)
    assert red > blue + 40
    canvas.send_keys("-----")
    assert text(shown, ".opacity-number") == "0 %" and pixel(shown, *hot) == [0, 0, 0]
    canvas.send_keys("+++++")
    canvas.send_keys(Keys.ARROW_DOWN * 4)
    assert text(shown, ".slice-number") == "4 of 12"
    bright = (1 - 11 / 40, 1 - 11 / 40)
    assert pixel(shown, *bright) == [255, 255, 255] and text(shown, ".window") == "0 to 80 HU"
    canvas.send_keys("3")
    assert text(shown, ".window") == "-800 to 2000 HU" and 70 < pixel(shown, *bright)[0] < 90  # (80 + 800) / 2800
    canvas.send_keys(Keys.HOME)
    assert text(shown, ".slice-number") == "1 of 12"
    canvas.send_keys(Keys.END)
    assert text(shown, ".slice-number") == "12 of 12"


def test_wheel_drag_buttons_and_choice_by_mouse(shown):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    canvas = shown.find_element(By.TAG_NAME, "canvas")
    ActionChains(shown).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, 100).perform()
    assert text(shown, ".slice-number") == "9 of 12"
    ActionChains(shown).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -100).perform()
    assert text(shown, ".slice-number") == "8 of 12"
    Select(shown.find_element(By.CSS_SELECTOR, ".map")).select_by_visible_text("second")
    assert pixel(shown, 1 - 27 / 40, 1 - 27 / 40) == [0, 0, 0]
    red, _, blue = pixel(shown, 1 - 27 / 40, 27 / 40)
    assert red > blue + 40
    button = shown.find_element(By.CSS_SELECTOR, "[data-preset=bone]")
    button.click()
    assert button.get_attribute("aria-pressed") == "true" and text(shown, ".window") == "-800 to 2000 HU"
    ActionChains(shown).move_to_element(canvas).click_and_hold().move_by_offset(50, 20).release().perform()
    low, high = (float(part) for part in re.match(r"(\S+) to (\S+) HU", text(shown, ".window")).groups())
    assert high - low == pytest.approx(2800 + 2 * 50 * 14, abs=2) and (low + high) / 2 == pytest.approx(600 + 20 * 14, abs=2)
    ActionChains(shown).move_to_element(canvas).perform()
    assert text(shown, ".readout").startswith("0 HU, map")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(shown, width):
    shown.set_window_size(width, 900)
    wider = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"
    assert shown.execute_script(wider)
    shown.set_window_size(1000, 1300)


@pytest.fixture
def strips(driver, tmp_path):
    """Four pictures, of which the third matters most, and the viewer below them."""
    from selenium.webdriver.support.ui import WebDriverWait

    pixels = np.stack([np.full((16, 16, 1), 0.2 * place + 0.2) for place in range(4)])
    names = tuple(f"a_rather_long_name_of_a_file_{place + 1}.jpg" for place in range(4))
    change = np.array([[0.1, -0.3, 1.2, 0.0]])
    decides = np.array([False, False, True, False])
    one = importance.Importance("ct", "poor", names, change, change, np.ones(1), np.zeros(1), decides, None, (("x.jpg", "black"),))
    image = page.Volume("ct", pixels[..., 0], None, {}, names)
    html = page.render("007", "One network.", [], [image], [], 0.45, [strip.make(one, pixels, "photograph", "mRS > 2", 1, False)])
    (tmp_path / "patient_007.html").write_text(html)
    driver.get((tmp_path / "patient_007.html").as_uri())
    WebDriverWait(driver, 20).until(lambda browser: browser.execute_script("return document.querySelector('.viewer').dataset.ready"))
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def order(browser) -> list[str]:
    return browser.execute_script("return [...document.querySelectorAll('.strip .file b')].map((one) => one.textContent)")


def test_the_strip_is_sorted_and_shows_a_picture_large_by_keyboard(strips):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert order(strips) == ["1", "2", "3", "4"]
    by_importance = strips.find_element(By.CSS_SELECTOR, "[data-sort=rank]")
    by_importance.send_keys(Keys.ENTER)
    assert order(strips) == ["3", "2", "1", "4"] and by_importance.get_attribute("aria-pressed") == "true"
    first = strips.find_element(By.CSS_SELECTOR, ".strip button")
    by_importance.send_keys(Keys.TAB)
    assert strips.switch_to.active_element == first  # the order on the screen is that of the keyboard
    first.send_keys(Keys.ENTER)
    assert text(strips, ".slice-number") == "3 of 4: a_rather_long_name_of_a_file_3.jpg"
    assert first.get_attribute("aria-current") == "true"
    strips.find_element(By.TAG_NAME, "canvas").send_keys(Keys.ARROW_DOWN)
    current = strips.find_elements(By.CSS_SELECTOR, ".strip [aria-current=true]")
    assert [one.get_attribute("data-slice") for one in current] == ["1"]
    strips.find_element(By.CSS_SELECTOR, "[data-sort=order]").send_keys(Keys.ENTER)
    assert order(strips) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("width", [1280, 500, 390])
def test_the_strip_is_no_wider_than_the_screen(strips, width):
    strips.set_window_size(width, 900)
    assert strips.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")
    strips.set_window_size(1000, 1300)


@pytest.fixture
def words(driver, tmp_path):
    """A report of two sections, whose last words look at different slices of two images."""
    from selenium.webdriver.support.ui import WebDriverWait

    pieces = [{"text": "Side", "kind": "word", "map": "", "header": True, "says": "", "strength": 0.1}, {"text": ": ", "kind": "between"}]
    for name, strength in (("left", 1.0), ("a-rather-long-word-" * 6, 0.2)):
        pieces += [
            {"text": name, "kind": "chosen", "map": f"word: {name[:4]}", "header": False, "says": f"{name} says", "strength": strength}
        ]
        pieces += [{"text": " ", "kind": "between"}]
    told = {"by": "From the table.", "notes": [], "failure": "", "sections": [pieces], "chosen": True, "looked": True}
    volumes = []
    for image, places in (("flair", (2, 9)), ("lesion", (4, 7))):
        maps = {"poor: grad cam": np.zeros((20, 20, 12), np.float32)}
        for title, place in zip(("word: left", "word: a-ra"), places, strict=True):
            maps[title] = np.full((20, 20, 12), 0.3, np.float32)
            maps[title][5:8, 5:8, place] = 1.0
        volumes.append(page.Volume(image, np.full((20, 20, 12), 7, np.int16), np.diag([1.0, 1, 2, 1]), maps))
    taken = page.Contribution("poor", "section side (taken away)", None, None, -0.2, "report")
    html = page.render("007", "One network.", [], volumes, [taken], 0.45, (), told)
    (tmp_path / "patient_007.html").write_text(html)
    driver.get((tmp_path / "patient_007.html").as_uri())
    ready = "return [...document.querySelectorAll('.viewer')].every((one) => one.dataset.ready)"
    WebDriverWait(driver, 20).until(lambda browser: browser.execute_script(ready))
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def shows(browser) -> list[tuple[str, str]]:
    """(map, slice) of every viewer."""
    script = """return [...document.querySelectorAll('.viewer')].map((one) =>
    [one.querySelector('.map').value, one.querySelector('.slice-number').textContent])"""
    return [tuple(one) for one in browser.execute_script(script)]


def test_a_word_is_shown_where_it_looks_by_keyboard(words):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    left, other = words.find_elements(By.CSS_SELECTOR, "button.word")
    assert shows(words) == [("poor: grad cam", "7 of 12")] * 2 and left.get_attribute("aria-pressed") == "false"
    left.send_keys(Keys.ENTER)
    assert shows(words) == [("word: left", "3 of 12"), ("word: left", "5 of 12")]
    assert left.get_attribute("aria-pressed") == "true" and text(words, ".says") == "left: left says"
    left.send_keys(Keys.TAB)
    assert words.switch_to.active_element == other
    other.send_keys(Keys.SPACE)
    assert shows(words) == [("word: a-ra", "10 of 12"), ("word: a-ra", "8 of 12")]
    assert [one.get_attribute("aria-pressed") for one in (left, other)] == ["false", "true"]
    for chosen in words.find_elements(By.CSS_SELECTOR, ".map"):
        Select(chosen).select_by_visible_text("poor: grad cam")
    assert other.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [1280, 500, 390])
def test_the_report_is_no_wider_than_the_screen(words, width):
    words.set_window_size(width, 900)
    assert words.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")
    words.set_window_size(1000, 1300)
