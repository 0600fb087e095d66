"""The strip of a patient's page: each picture that the network saw, small, in order, with what it does to the prediction."""

import base64
import io

import numpy as np
import PIL.Image

from jaxstroke.evaluation.wording import show
from jaxstroke.explain.importance import LEAST, Importance
from jaxstroke.explain.page import averaged

MOST_PIXELS = 160  # of a thumbnail's side: 64 of them are then about a megabyte


def make(one: Importance, pixels: np.ndarray, normalise: str, words: str, levels: int, merged: str) -> dict:
    """What `templates/strip.html.j2` shows of one image and head.

    pixels: (s, h, w, c) as the network saw them, 0 to 1; normalise: of the image's settings; words: the outcome, such as 'mrs > 2'; levels:
    logits of the head, whose probabilities are shown if there is one; merged: what this network sees, where a rule merges its number with
    others, else "".
    """
    lowest, highest = one.change.min(0), one.change.max(0)
    largest = np.abs(one.change).max(initial=LEAST)  # small changes are drawn small
    decides, order = one.decides, np.lexsort((-np.abs(one.mean), ~one.decides))  # those that decide first, then by what they change
    cards = []
    for place, file in enumerate(one.files):
        lines = [
            ("without it", percent(one.whole - one.change[:, place], levels)),
            ("alone", percent(one.alone[:, place], levels)),
            ("attention", "" if one.attention is None else show(float(one.attention[place]), 2)),
        ]
        card = {"number": place + 1, "file": file, "picture": data_uri(shown(pixels[place], normalise)), "decides": bool(decides[place])}
        card |= {"change": show(float(one.mean[place]), 2, sign=True), "rank": int(np.flatnonzero(order == place)[0])}
        card |= {"range": f"{show(float(lowest[place]), 2, sign=True)} to {show(float(highest[place]), 2, sign=True)}"}
        card |= {"bar": [float(50 * value[place] / largest) for value in (one.mean, lowest, highest)]}
        cards.append(card | {"lines": [(name, value) for name, value in lines if value]})
    reasons = {}
    for file, why in one.left_out:
        reasons.setdefault(why, []).append(file)
    return {
        "image": one.image, "head": one.head, "words": words, "cards": cards, "networks": len(one.whole), "merged": merged,
        "whole": percent(one.whole, levels), "rest": percent(one.rest, levels), "least": LEAST,
        "moved": show(float((one.whole - one.rest).mean()), 2, sign=True), "left_out": reasons,
        "decides": [card for card in cards if card["decides"]],
    }  # fmt: skip


def percent(log_odds: np.ndarray, levels: int) -> str:
    """The mean probability over the networks; nothing of a head with several logits."""
    return f"{100 * float((1 / (1 + np.exp(-log_odds.astype(np.float64)))).mean()):.0f} %" if levels == 1 else ""


def shown(picture: np.ndarray, normalise: str) -> np.ndarray:
    """(h, w, c) 0 to 1 as (h, w, 1 or 3) bytes. Of a CT's three windows the first, which is that of the brain."""
    picture = averaged(picture[..., :1] if normalise == "ct_windows" else picture, [-(-side // MOST_PIXELS) for side in picture.shape[:2]])
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def data_uri(picture: np.ndarray) -> str:
    content = io.BytesIO()
    PIL.Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
