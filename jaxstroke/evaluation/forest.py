"""Forest plots as rows of a table: an estimate and its interval drawn in a cell, the numbers in the cells beside it.

Words then wrap, numbers line up, and a screen reader reads the table; the drawings, hidden from it, share one scale and one axis. Places
are percentages of the cell, so that dots stay round at every width.
"""

from dataclasses import dataclass

from markupsafe import Markup

from jaxstroke.evaluation.plots import ticks

MARGIN = 6  # percent of the cell on either side, for the axis's first and last number


@dataclass(frozen=True)
class Scale:
    """What the cell shows, low to high; reference: where the dashed line stands, None for no line."""

    low: float
    high: float
    reference: float | None = None

    def place(self, value: float) -> str:
        """The value's place across the cell, as SVG writes it."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{MARGIN + (100 - 2 * MARGIN) * share:.2f}%"


def scale_of(rows: list[dict], reference: float | None, least: float) -> Scale:
    """A scale that holds every row's `value` and `limits`, and the reference; least: its smallest length, so that nothing looks large."""
    bounds = [bound for row in rows for bound in (row["limits"] or [row["value"]]) if bound is not None]
    bounds += [] if reference is None else [reference]
    low, high = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    lacking = max(0.0, least - (high - low)) / 2
    return Scale(low - lacking, high + lacking, reference)


def bar(scale: Scale, value: float | None, limits: list[float] | None, style: str) -> Markup:
    """One row: the interval as a line, the estimate as a dot; nothing but the reference where the value is None."""
    parts = ['<svg class="bar" aria-hidden="true">']
    if scale.reference is not None:
        place = scale.place(scale.reference)
        parts.append(f'<line class="guide" x1="{place}" x2="{place}" y1="-60" y2="76"/>')
    if value is not None and limits:
        low, high = (scale.place(limit) for limit in limits)
        parts.append(f'<line class="whisker thick {style}" x1="{low}" x2="{high}" y1="8" y2="8"/>')
    if value is not None:
        parts.append(f'<circle class="dot {style}" cx="{scale.place(value)}" cy="8" r="4.5"/>')
    return Markup("".join(parts) + "</svg>")


def axis(scale: Scale, wanted: int = 4) -> Markup:
    """The numbers under the rows; every second one only where there is room."""
    parts = ['<svg class="bar axis" aria-hidden="true">']
    values = ticks(scale.low, scale.high, wanted)
    kept = values.index(scale.reference) % 2 if scale.reference in values else 0
    for number, value in enumerate(values):
        place, text, room = scale.place(value), f"{value:g}".replace("-", "−"), "" if number % 2 == kept else ' class="wide"'
        parts.append(f'<line class="grid" x1="{place}" x2="{place}" y1="0" y2="4"/>')
        parts.append(f'<text{room} x="{place}" y="16" text-anchor="middle">{text}</text>')
    return Markup("".join(parts) + "</svg>")
