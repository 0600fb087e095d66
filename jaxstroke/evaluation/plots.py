"""Figures as inline SVG, written by hand: they follow the page's colours (dark mode, print) and stay sharp at every width.

A series is (name, style, points n 2); the style `s0` to `s5` fixes a colour and a dash, so that no figure needs colour to be read.
"""

from html import escape

import numpy as np
from markupsafe import Markup

from jaxstroke.evaluation import curves

WIDTH, HEIGHT = 360, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 42


class Axes:
    """Ranges in data units to a place in the picture; collects the elements."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], labels: tuple[str, str], height: int = HEIGHT):
        self.x, self.y, self.height, self.parts = x, y, height, []
        self.grid(labels)

    def place(self, points: np.ndarray) -> np.ndarray:
        """n 2 in data units -> n 2 in the picture."""
        points = np.asarray(points, float).reshape(-1, 2)
        across = LEFT + (points[:, 0] - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)
        down = self.height - BOTTOM - (points[:, 1] - self.y[0]) / (self.y[1] - self.y[0]) * (self.height - TOP - BOTTOM)
        return np.stack([across, down], 1)

    def grid(self, labels: tuple[str, str]):
        for value in ticks(*self.x):
            (x, _), (_, bottom) = self.place([value, self.y[0]])[0], self.place([value, self.y[0]])[0]
            self.parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{value:g}</text>')
        for value in ticks(*self.y):
            x, y = self.place([self.x[0], value])[0]
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text class="tick" x="{x - 6:.1f}" y="{y + 3.5:.1f}" text-anchor="end">{value:g}</text>')
        across, down = (LEFT + WIDTH - RIGHT) / 2, (TOP + self.height - BOTTOM) / 2
        for where, label in zip((f"translate({across} {self.height - 6})", f"translate(11 {down}) rotate(-90)"), labels, strict=True):
            self.parts.append(f'<text class="axis" transform="{where}" text-anchor="middle">{escape(label)}</text>')

    def line(self, points: np.ndarray, style: str, title: str = ""):
        points = np.asarray(points, float).reshape(-1, 2)
        points = points[np.isfinite(points).all(1)]
        if len(points):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in self.place(points))
            self.parts.append(f'<polyline class="{style}" points="{path}">{hint(title)}</polyline>')

    def dot(self, x: float, y: float, style: str, title: str = "", radius: float = 3.5):
        across, down = self.place([x, y])[0]
        self.parts.append(f'<circle class="{style}" cx="{across:.1f}" cy="{down:.1f}" r="{radius}">{hint(title)}</circle>')

    def svg(self, label: str) -> Markup:
        """The picture; label: what a screen reader says."""
        head = f'<svg class="figure" viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(label)}">'
        return Markup(head + "".join(self.parts) + "</svg>")


def hint(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About `wanted` round numbers within the range."""
    rough = (high - low) / wanted
    size = 10 ** np.floor(np.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(round(number * step, 10)) + 0.0 for number in np.arange(first, high / step + 1e-9)]


def roc(series: list[tuple[str, str, np.ndarray]]) -> Markup:
    """Mean ROC curves on the unit square; series: sensitivity at `curves.GRID`."""
    axes = Axes((0, 1), (0, 1), ("1 − specificity", "sensitivity"), 340)
    axes.line(np.array([[0, 0], [1, 1]]), "guide")
    for name, style, values in reversed(series):
        points = np.vstack([[0, 0], np.stack([curves.GRID, values], 1)])
        axes.line(points, f"curve {style}", name)
    return axes.svg("ROC curves of " + ", ".join(name for name, _, _ in series))


def calibration(series: list[tuple[str, str, list[dict]]]) -> Markup:
    """Observed share over predicted probability in groups of equal size, with 95 % intervals; on the diagonal is calibrated."""
    axes = Axes((0, 1), (0, 1), ("predicted probability", "observed share"), 340)
    axes.line(np.array([[0, 0], [1, 1]]), "guide")
    for name, style, groups in reversed(series):
        axes.line(np.array([[group["predicted"], group["observed"]] for group in groups]), f"curve thin {style}")
        for group in groups:
            words = "{}: predicted {predicted:.2f}, observed {observed:.2f} ({low:.2f} to {high:.2f})".format(name, **group)
            axes.line(np.array([[group["predicted"], group["low"]], [group["predicted"], group["high"]]]), f"whisker {style}")
            axes.dot(group["predicted"], group["observed"], f"dot {style}", words)
    return axes.svg("Calibration: observed share of patients over predicted probability")


def decision_curve(series: list[tuple[str, str, np.ndarray]], everybody: np.ndarray) -> Markup:
    """Net benefit over the threshold probability, with treating everybody and nobody as references."""
    best = max([float(np.nanmax(values)) for _, _, values in series] + [float(everybody[0])])
    axes = Axes((0, 0.9), (-0.1 * best, 1.1 * best), ("threshold probability", "net benefit"), 340)
    axes.line(np.array([[0, 0], [0.9, 0]]), "guide", "treat nobody")
    axes.line(visible(everybody, axes.y[0]), "guide solid", "treat everybody")
    for name, style, values in reversed(series):
        axes.line(visible(values, axes.y[0]), f"curve {style}", name)
    return axes.svg("Net benefit over the threshold probability")


def visible(values: np.ndarray, low: float) -> np.ndarray:
    """n 2: the curve over `curves.THRESHOLDS`, as far as it lies above `low`."""
    return np.stack([curves.THRESHOLDS, np.where(values >= low, values, np.nan)], 1)


def learning(kinds: dict[str, dict[str, np.ndarray]], part: str, most: int = 30) -> Markup:
    """Loss over epochs: each run's validation loss thin, means over runs thick."""
    rows = np.concatenate([run for runs in kinds.values() for run in runs.values()])
    low, high = np.percentile(rows[:, 1], [0, 99])
    margin = 0.06 * (high - low) or 0.5
    axes = Axes((rows[:, 0].min(), max(rows[:, 0].max(), rows[:, 0].min() + 1)), (low - margin, high + margin), ("epoch", "loss"), 230)
    for run, points in list(kinds.get("val", {}).items())[:most]:
        axes.line(clipped(points, high + margin), "curve faint s1", f"validation, {run}")
    for kind, style in (("train", "s0"), ("val", "s1")):
        if kind in kinds:
            axes.line(clipped(curves.mean_curve(kinds[kind]), high + margin), f"curve {style}", f"{kind}, mean over runs")
    return axes.svg(f"Learning curves of {part}")


def clipped(points: np.ndarray, high: float) -> np.ndarray:
    return np.stack([points[:, 0], np.minimum(points[:, 1], high)], 1)


def interval_bar(value: float | None, ci95: list[float] | None, low: float, high: float, reference: float | None, style: str) -> Markup:
    """A small forest line of one table row on the range low to high; the dashed line is the reference."""
    if value is None:
        return Markup("")

    def place(number: float) -> float:
        return round(4 + 112 * (min(max(number, low), high) - low) / (high - low), 1)

    parts = ['<svg class="bar" viewBox="0 0 120 16" aria-hidden="true">']
    if reference is not None:
        parts.append(f'<line class="guide" x1="{place(reference)}" x2="{place(reference)}" y1="0" y2="16"/>')
    if ci95:
        parts.append(f'<line class="whisker wide {style}" x1="{place(ci95[0])}" x2="{place(ci95[1])}" y1="8" y2="8"/>')
    parts.append(f'<circle class="dot {style}" cx="{place(value)}" cy="8" r="4"/></svg>')
    return Markup("".join(parts))


def strip(values: list[float], low: float, high: float) -> Markup:
    """Thresholds of all folds as dots on one line."""
    axes = Axes((low, high), (0, 1), ("threshold on the raw probability, one dot a fold", ""), 78)
    axes.parts = [part for part in axes.parts if "grid" not in part and 'text-anchor="end"' not in part]
    axes.line(np.array([[low, 0], [high, 0]]), "grid")
    for value in values:
        axes.dot(value, 0.45, "dot s0 soft", f"{value:.3f}", 5)
    return axes.svg("Thresholds of the folds")
