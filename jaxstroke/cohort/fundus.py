"""A synthetic infrared image of the back of an eye: disc, fovea, arterioles and venules that leave the disc in four arcades and branch.

Lengths are in half sides of the image, from its middle, x to the right and y down; angles are about the disc, from the direction of the
fovea. A vessel is an angle as a function of the distance from the disc, so that how far a pixel is from it has a closed form. What the
outcome depends on is one number of the whole image: the arterioles' width over that of the venules beside them. Which is which, the picture
tells: venules are dark, arterioles are pale with a bright reflex along their middle. Where disc and vessels lie, how they wind and branch,
light, focus and speckle differ from eye to eye without meaning, most of it no more than views of one image do.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Geometric mean of both kinds at the disc, and its deviation as a logarithm; deviation between arcades.
WIDTH, WIDTH_SPREAD, ARCADE_SPREAD = 0.11, 0.05, 0.04
TAPER, THINNEST, BRANCH = 0.15, 0.4, 0.72  # of a width: share lost over half a side, least share left; a branch's, of its trunk's
ARCADES = (1.05, -1.05, 2.25, -2.25)  # radians
ZOOM, TURN = 0.22, 0.25  # of an eye: logarithm and radians, uniform in +-, no more than views of one image differ by
DARKNESS, PALENESS = 0.46, 0.6  # share of the light that a venule takes away, and of that what an arteriole does beside its reflex
REFLEX, REFLEX_WIDTH = 1.8, 0.6  # brightness of the reflex, of what the arteriole takes away; its width, of the arteriole's
SPECKLE = 0.08  # deviation, of the signal
FARTHEST, PLACES = 3.2, 640  # distance from the disc up to which vessels are tabulated, and at how many places
RADII = np.linspace(1e-3, FARTHEST, PLACES)


@dataclass(frozen=True)
class Vessels:
    """angles and widths (v, PLACES) at the distances RADII from the disc, widths 0 where a vessel has not begun; arteriole (v,) bool."""

    angles: np.ndarray
    widths: np.ndarray
    arteriole: np.ndarray


def draw(ratio: float, size: int, right: bool, rng) -> np.ndarray:
    """(size, size) uint8. ratio: arteriole to venule; right: of the right eye, its disc on the right; a left one is mirrored."""
    steps = (2 * np.arange(size) + 1) / size - 1
    x, y = field_of_view(steps, rng)
    disc = np.array([rng.uniform(0.35, 0.75), rng.uniform(-0.2, 0.2)])
    away, down = disc[0] - x, y - disc[1]
    distance, angle = np.hypot(away, down), np.arctan2(-down, away)
    dark = vessel_shadow(draw_vessels(ratio, rng), distance, angle, 2 / size)
    shown = photograph(background(distance, np.hypot(away - 1.05, down - 0.08), (x, y), rng) * (1 - dark), size, rng)
    return shown if right else shown[:, ::-1]


def field_of_view(steps: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Where pixels lie, x and y (size, size): eyes are longer or shorter, and a head is held aslant. steps: of pixels along a side."""
    zoom, turn = np.exp(rng.uniform(-ZOOM, ZOOM)), rng.uniform(-TURN, TURN)
    across, down = zoom * np.cos(turn), zoom * np.sin(turn)
    return across * steps[None, :] - down * steps[:, None], down * steps[None, :] + across * steps[:, None]


def draw_vessels(ratio: float, rng) -> Vessels:
    """An arteriole, nearer to the nose, and a venule an arcade, and a branch of each."""
    typical = WIDTH * np.exp(WIDTH_SPREAD * rng.normal())
    wave = rng.uniform(0.02, 0.03)  # tortuosity of the eye
    angles, widths = [], []
    for arcade in ARCADES:
        middle, gap = arcade + rng.normal(0, 0.08), rng.uniform(0.38, 0.46) * np.sign(arcade)
        bend = rng.uniform(0.45, 0.65) if abs(arcade) < np.pi / 2 else rng.uniform(-0.1, 0.1)
        calibre = typical * np.exp(ARCADE_SPREAD * rng.normal())
        for start, share in ((middle + gap / 2, ratio**0.5), (middle - gap / 2, ratio**-0.5)):
            waves = wave * np.sin(rng.uniform(4, 9) * RADII + rng.uniform(0, 2 * np.pi)) / np.maximum(RADII, 0.3)
            trunk = start / (1 + bend * RADII) + waves
            width = calibre * share * np.clip(1 - TAPER * RADII, THINNEST, None)
            begins, spread = rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.65) * rng.choice([-1, 1])
            angles += [trunk, trunk + spread * np.log(np.maximum(RADII / begins, 1))]
            widths += [width, np.where(begins < RADII, BRANCH * width, 0)]
    return Vessels(np.array(angles), np.array(widths), np.tile([True, True, False, False], len(ARCADES)))


def vessel_shadow(vessels: Vessels, distance: np.ndarray, angle: np.ndarray, pixel: float) -> np.ndarray:
    """(size, size) share of the light that vessels take away, below 0 in a reflex. distance, angle: of pixels, about the disc."""
    spacing = RADII[1] - RADII[0]
    place = np.minimum((distance / spacing).astype(int), PLACES - 1)
    slant = np.sqrt(1 + (RADII * np.gradient(vessels.angles, spacing, axis=1)) ** 2)
    turn = np.abs(angle - vessels.angles.astype(np.float32)[:, place])
    apart = distance * np.minimum(turn, np.abs(2 * np.pi - turn)) / slant.astype(np.float32)[:, place]
    half = vessels.widths.astype(np.float32)[:, place] / 2
    inside = np.clip(0.5 + (half - apart) / pixel, 0, 1) * (half > 0)
    venules, arterioles = inside[~vessels.arteriole].max(0), inside[vessels.arteriole]
    reflex = 1 - REFLEX * np.exp(-((apart / np.maximum(REFLEX_WIDTH * half, 1e-6)) ** 2))[vessels.arteriole]
    uppermost = arterioles.argmax(0)[None]
    pale = PALENESS * np.take_along_axis(arterioles * reflex, uppermost, 0)[0]
    return DARKNESS * (venules + pale * (1 - venules))


def background(to_disc: np.ndarray, to_fovea: np.ndarray, place, rng) -> np.ndarray:
    """(size, size) light from the fundus without vessels: uneven illumination, choroid, disc with its rim, fovea, pale spots.

    to_disc, to_fovea: distances of the pixels; place: their x and y.
    """
    x, y = place
    light = 0.6 + rng.uniform(-0.06, 0.06) * x + rng.uniform(-0.06, 0.06) * y - 0.05 * (x**2 + y**2)
    for _ in range(3):
        across, along = rng.uniform(-6, 6, 2)
        light = light + 0.01 * np.sin(across * x + along * y + rng.uniform(0, 2 * np.pi))
    radius = rng.uniform(0.18, 0.22)
    light = light + 0.15 * np.clip(0.5 + (radius - to_disc) / 0.08, 0, 1)
    light = light - 0.12 * np.exp(-((to_fovea / 0.22) ** 2))
    for _ in range(rng.poisson(0.5)):
        spot = (x - rng.uniform(-1, 1)) ** 2 + (y - rng.uniform(-1, 1)) ** 2
        light = light + rng.uniform(0.1, 0.25) * np.exp(-spot / rng.uniform(0.03, 0.07) ** 2)
    return light


def photograph(signal: np.ndarray, size: int, rng) -> np.ndarray:
    """(size, size) uint8 as a camera takes it: out of focus, with speckle, of some gain and offset."""
    focus, speckle = rng.uniform(0.005, 0.007) * size, SPECKLE
    signal = ndimage.gaussian_filter(signal, focus) * (1 + speckle * rng.standard_normal(signal.shape, dtype=np.float32))
    gain, offset = rng.uniform(0.92, 1.08), rng.uniform(-0.04, 0.04)
    return np.rint(255 * np.clip(0.5 + offset + gain * (signal - 0.5), 0, 1)).astype(np.uint8)
