"""A synthetic optical coherence tomogram of the retina: a B-scan of layers between vitreous and choroid.

Depth runs down the image and is in shares of its side, x from -1 to 1 across. What the outcome depends on is one number of the whole
image: the share of the nerve fibre layer, the bright one that comes first, in the thickness of the retina (away from the pit of the fovea,
where the inner layers thin together). Depth, thickness of the whole, tilt, curvature, waves, the pit, drusen, shadows of vessels, speckle,
focus, brightness and contrast differ from eye to eye without meaning.
"""

import numpy as np
from scipy import ndimage

from jaxstroke.cohort import fundus

# Of the retina without its nerve fibre layer: ganglion cells with inner plexiform, inner nuclear, outer plexiform, outer nuclear layer,
# and the photoreceptors' segments with the pigment epithelium.
SHARES = np.array([0.27, 0.15, 0.11, 0.27, 0.20])
THICKNESS, ZOOM = 0.37, 0.22  # of the retina, of the image's side; its logarithm, uniform in +-
SPECKLE = 0.25  # deviation, of the signal
VITREOUS, LAYERS, CHOROID, SCLERA = 0.06, (0.80, 0.52, 0.30, 0.46, 0.22, 0.92), 0.55, 0.22  # brightness
INNER = 3  # layers that thin in the pit of the fovea


def draw(share: float, size: int, rng) -> np.ndarray:
    """(size, size) uint8, vitreous above. share: of the nerve fibre layer in the retina's thickness."""
    x, depth = (2 * np.arange(size) + 1) / size - 1, (np.arange(size) + 0.5)[:, None] / size
    edges = boundaries(share, x, rng)
    soft = 1.0 / size
    signal = np.full((size, size), VITREOUS)
    brightness = (*(value * np.exp(rng.normal(0, 0.03)) for value in LAYERS), CHOROID * np.exp(rng.normal(0, 0.03)), SCLERA)
    for edge, value in zip(edges, brightness, strict=True):
        signal = signal + (value - signal) * np.clip(0.5 + (depth - edge) / soft, 0, 1)
    light = np.exp(-rng.uniform(0.3, 0.4) * np.clip(depth - edges[0], 0, None))
    for _ in range(rng.integers(1, 3)):  # vessels above cast shadows
        shadow = rng.uniform(0.2, 0.5) * np.exp(-(((x - rng.uniform(-1, 1)) / rng.uniform(0.02, 0.05)) ** 2))
        light = light * (1 - shadow * (depth > edges[1]))
    return scanned(signal * light, size, rng)


def boundaries(share: float, x: np.ndarray, rng) -> list[np.ndarray]:
    """(w,) depths each of the tops of the layers, the choroid and the sclera, from above."""
    thickness = THICKNESS * np.exp(rng.uniform(-ZOOM, ZOOM))
    others = SHARES * np.exp(rng.normal(0, 0.03, len(SHARES)))
    shares = np.concatenate([[share], (1 - share) * others / others.sum()])
    pit = rng.uniform(0.6, 0.75) * np.exp(-(((x - rng.uniform(-0.5, 0.5)) / rng.uniform(0.15, 0.18)) ** 2))
    waves = rng.uniform(0.0, 0.008) * np.sin(rng.uniform(6, 14) * x + rng.uniform(0, 2 * np.pi))
    floor = rng.uniform(0.56, 0.72) + rng.uniform(-0.12, 0.12) * x + rng.uniform(-0.1, 0.0) * (x**2 - 1 / 3) + waves
    heights = [thickness * one * (1 - pit * (place < INNER)) for place, one in enumerate(shares)]
    for _ in range(rng.poisson(0.5)):  # drusen lift the pigment epithelium and what is above it
        floor = floor - rng.uniform(0.01, 0.035) * np.exp(-(((x - rng.uniform(-1, 1)) / rng.uniform(0.05, 0.1)) ** 2))
    top = floor - sum(heights)
    edges = [top + sum(heights[:place]) for place in range(len(heights))]
    return [*edges, floor, floor + thickness * rng.uniform(0.4, 0.44)]


def scanned(signal: np.ndarray, size: int, rng) -> np.ndarray:
    """(size, size) uint8: smeared more across than in depth, with speckle, then as a photograph."""
    signal = ndimage.gaussian_filter(signal, (0.0, rng.uniform(0.006, 0.009) * size))
    speckle = SPECKLE * rng.standard_normal(signal.shape, dtype=np.float32)
    return fundus.photograph(np.clip(signal * (1 + speckle), 0, None), size, rng)
