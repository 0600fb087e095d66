"""Figures as inline SVG, written by hand: they follow the page's colours (dark mode, print) and stay sharp at every width.

A series is (name, style, points n 2); the style `s0` to `s5` fixes a colour and a dash, so that no figure needs colour to be read.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from markupsafe import Markup

from jaxstroke.evaluation import curves

WIDTH = 420
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 12, 42


class Axes:
    """Ranges in data units to a place in the picture; collects the elements. top, bottom: edges of the panel, from the picture's top."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], labels: tuple[str, str], bottom: float, top: float = TOP, left: float = LEFT
    ):
        self.x, self.y, self.labels, self.top, self.bottom, self.left, self.parts = x, y, labels, top, bottom, left, []

    def place(self, points: np.ndarray) -> np.ndarray:
        """n 2 in data units -> n 2 in the picture."""
        points = np.asarray(points, float).reshape(-1, 2)
        across = self.left + (points[:, 0] - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - self.left - RIGHT)
        down = self.bottom - (points[:, 1] - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top)
        return np.stack([across, down], 1)

    def across(self, whole: bool = False) -> "Axes":
        """Numbers and label of the horizontal axis, below the panel; whole: of epochs."""
        for value in ticks(*self.x):
            if whole and value != round(value):
                continue
            x = self.place([value, self.y[0]])[0, 0]
            self.text(x, self.bottom + 15, f"{value:g}", "middle")
        self.text((self.left + WIDTH - RIGHT) / 2, self.bottom + 36, self.labels[0], "middle", "axis")
        return self

    def up(self) -> "Axes":
        """Grid lines, numbers and label of the vertical axis."""
        for value in ticks(*self.y):
            x, y = self.place([self.x[0], value])[0]
            self.parts.append(f'<line class="grid" x1="{self.left}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.text(x - 6, y + 3.5, f"{value:g}", "end")
        where = f"translate(11 {(self.top + self.bottom) / 2:.1f}) rotate(-90)"
        self.parts.append(f'<text class="axis" transform="{where}" text-anchor="middle">{escape(self.labels[1])}</text>')
        return self

    def text(self, x: float, y: float, words: str, anchor: str, style: str = "tick"):
        words = escape(words).replace("-", "−") if style == "tick" else escape(words)
        self.parts.append(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>')

    def line(self, points: np.ndarray, style: str, title: str = ""):
        points = np.asarray(points, float).reshape(-1, 2)
        points = points[np.isfinite(points).all(1)]
        if len(points):
            self.parts.append(f'<polyline class="{style}" points="{self.path(points)}">{hint(title)}</polyline>')

    def area(self, points: np.ndarray, style: str, title: str = ""):
        self.parts.append(f'<polygon class="{style}" points="{self.path(points)}">{hint(title)}</polygon>')

    def path(self, points: np.ndarray) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.place(points))

    def dot(self, x: float, y: float, style: str, title: str = "", radius: float = 3.5):
        across, down = self.place([x, y])[0]
        self.parts.append(f'<circle class="{style}" cx="{across:.1f}" cy="{down:.1f}" r="{radius}">{hint(title)}</circle>')


def picture(label: str, *panels: Axes) -> Markup:
    """Panels under one another as one picture; label: what a screen reader says."""
    height = panels[-1].bottom + BOTTOM
    head = f'<svg class="figure" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(part for panel in panels for part in panel.parts) + "</svg>")


def hint(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers within the range."""
    rough = (high - low) / wanted
    size = 10 ** np.floor(np.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(round(number * step, 10)) + 0.0 for number in np.arange(first, high / step + 1e-9)]


def roc(series: list[tuple[str, str, np.ndarray]], dots: Sequence[tuple[str, str, float, float]] = ()) -> Markup:
    """Mean ROC curves on the unit square; series: sensitivity at `curves.GRID`. dots: (mark, name, false positive rate, sensitivity)."""
    axes = Axes((0, 1), (0, 1), ("1 − specificity", "sensitivity"), 330).across().up()
    axes.line(np.array([[0, 0], [1, 1]]), "guide")
    for name, style, values in reversed(series):
        points = np.vstack([[0, 0], np.stack([curves.GRID, values], 1)])
        axes.line(points, f"curve {style}", name)
    for mark, name, alarms, hits in dots:
        axes.dot(alarms, hits, "dot s5", f"{name}: sensitivity {hits:.2f}, specificity {1 - alarms:.2f}", 4)
        across, down = axes.place([alarms, hits])[0]
        axes.text(across + 7, down + 12, mark, "start", "small")
    return picture("ROC curves of " + ", ".join(name for name, _, _ in series) + (", with readers as dots" if dots else ""), axes)


def calibration(series: list[tuple[str, str, list[dict]]], edges: np.ndarray, without: np.ndarray, having: np.ndarray) -> Markup:
    """Observed share over predicted probability in groups of equal size, with 95 % intervals; on the diagonal is calibrated.

    Below it a histogram of `edges`: patients with the outcome up, without it down.
    """
    axes = Axes((0, 1), (0, 1), ("", "observed share"), 314).up()
    axes.line(np.array([[0, 0], [1, 1]]), "guide")
    for name, style, groups in reversed(series):
        axes.line(np.array([[group["predicted"], group["observed"]] for group in groups]), f"curve thin {style}")
        for group in groups:
            words = "{}: predicted {predicted:.2f}, observed {observed:.2f} ({low:.2f} to {high:.2f})".format(name, **group)
            axes.line(np.array([[group["predicted"], group["low"]], [group["predicted"], group["high"]]]), f"whisker {style}")
            axes.dot(group["predicted"], group["observed"], f"dot {style}", words)
    most = max(having.max(), without.max())
    counts = Axes((0, 1), (-most, most), ("predicted probability", ""), 390, 326).across()
    for heights, style in ((having, "s0"), (-without, "s4")):
        counts.area(steps(edges, heights), f"area {style}")
    counts.line(np.array([[0, 0], [1, 0]]), "grid")
    counts.text(LEFT - 6, 342, "with", "end", "small")
    counts.text(LEFT - 6, 382, "without", "end", "small")
    return picture("Calibration: observed share over predicted probability, and how many patients were given it", axes, counts)


def steps(edges: np.ndarray, heights: np.ndarray, base: float = 0.0) -> np.ndarray:
    """The outline of a histogram that stands on `base`: b + 1 edges, b heights -> n 2."""
    inner = np.stack([np.repeat(edges, 2)[1:-1], base + np.repeat(heights, 2)], 1)
    return np.vstack([[edges[0], base], inner, [edges[-1], base]])


def distributions(groups: list[dict], edges: np.ndarray, label: str, thresholds: list[float]) -> Markup:
    """How the predictions of each outcome lie, a row a group: a histogram as high as the row, and quartiles.

    groups: of `curves.by_outcome`, with a style; thresholds: dashed lines.
    """
    row, left = 74 if len(groups) < 4 else 46, 66
    axes = Axes((edges[0], edges[-1]), (0, len(groups)), (label, ""), TOP + row * len(groups), left=left).across()
    for threshold in thresholds:
        axes.line(np.array([[threshold, 0], [threshold, len(groups)]]), "guide", f"threshold {threshold:.3f}")
    for place, group in enumerate(reversed(groups)):
        axes.line(np.array([[edges[0], place], [edges[-1], place]]), "grid")
        middle = axes.place([edges[0], place + 0.36])[0, 1]
        axes.text(left - 8, middle, group["name"], "end", "axis")
        axes.text(left - 8, middle + 14, group["n"], "end", "small")
        if group["shares"] is not None:
            axes.area(steps(edges, group["shares"] * 0.72 / group["shares"].max(), place + 0.2), f"area {group['style']}")
            low, median, high = group["quartiles"]
            axes.line(np.array([[low, place + 0.1], [high, place + 0.1]]), f"whisker thick {group['style']}")
            words = f"{group['name']}: median {median:.2f}, quartiles {low:.2f} to {high:.2f}"
            axes.dot(median, place + 0.1, f"dot {group['style']}", words)
    return picture(f"{label} by outcome: " + ", ".join(group["name"] for group in groups), axes)


def decision_curve(series: list[tuple[str, str, np.ndarray]], everybody: np.ndarray) -> Markup:
    """Net benefit over the threshold probability, with treating everybody and nobody as references."""
    best = max([float(np.nanmax(values)) for _, _, values in series] + [float(everybody[0]), 0.01])  # of patients without the outcome: 0
    axes = Axes((0, 0.9), (-0.1 * best, 1.1 * best), ("threshold probability", "net benefit"), 330).across().up()
    axes.line(np.array([[0, 0], [0.9, 0]]), "guide", "treat nobody")
    axes.line(visible(everybody, axes.y[0]), "guide solid", "treat everybody")
    for name, style, values in reversed(series):
        axes.line(visible(values, axes.y[0]), f"curve {style}", name)
    return picture("Net benefit over the threshold probability", axes)


def visible(values: np.ndarray, low: float) -> np.ndarray:
    """n 2: the curve over `curves.THRESHOLDS`, as far as it lies above `low`."""
    return np.stack([curves.THRESHOLDS, np.where(values >= low, values, np.nan)], 1)


def learning(kinds: dict[str, dict[str, np.ndarray]], part: str, most: int = 30) -> Markup:
    """Loss over epochs: each run's validation loss thin, means over runs thick."""
    rows = np.concatenate([run for runs in kinds.values() for run in runs.values()])
    low, high = np.percentile(rows[:, 1], [0, 99])
    margin = 0.06 * (high - low) or 0.5
    epochs = (rows[:, 0].min(), max(rows[:, 0].max(), rows[:, 0].min() + 1))
    axes = Axes(epochs, (low - margin, high + margin), ("epoch", "loss"), 188).across(whole=True).up()
    for run, points in list(kinds.get("val", {}).items())[:most]:
        axes.line(clipped(points, high + margin), "curve faint s1", f"validation, {run}")
    for kind, style in (("train", "s0"), ("val", "s1")):
        if kind in kinds:
            axes.line(clipped(curves.mean_curve(kinds[kind]), high + margin), f"curve {style}", f"{kind}, mean over runs")
    return picture(f"Learning curves of {part}", axes)


def clipped(points: np.ndarray, high: float) -> np.ndarray:
    return np.stack([points[:, 0], np.minimum(points[:, 1], high)], 1)


def strip(values: list[float], low: float, high: float) -> Markup:
    """Thresholds of all folds as dots on one line."""
    axes = Axes((low, high), (0, 1), ("threshold on the raw probability, one dot a fold", ""), 36, left=RIGHT).across()
    axes.line(np.array([[low, 0], [high, 0]]), "grid")
    for value in values:
        axes.dot(value, 0.45, "dot s0 soft", f"{value:.3f}", 5)
    return picture("Thresholds of the folds", axes)
