"""How `jaxstroke.preprocess` makes an image, in words, for whoever has to do it without the package."""

from jaxstroke.cohort.picture import MOST_PIXELS
from jaxstroke.config_images import are_pictures
from jaxstroke.preprocess.pictures import NEARLY_BLACK, PAINT

ORIENTED = (
    "Read the file with its affine. Order the axes (s, h, w): s from inferior to superior, h from anterior to posterior, w from the "
    "patient's left to the right."
)
MASKS = ("mask", "mask_log")
NORMALISED = {
    "zscore": "Subtract the mean and divide by the standard deviation of the voxels inside; clip to -5 and 5.",
    "window": "Map {window} linearly to 0 to 1 and clip; refuse an image of which more than half of the inside lies beyond.",
    "window_erased": "Map {window} linearly to 0 to 1; what lies at or beyond either end is 0.",
    "ct_windows": "Three channels, each a window mapped to 0 to 1 and clipped: 0 to 80, -20 to 180, -800 to 2000 HU.",
    "scale": "Map {window} linearly to 0 to 1 and clip.",
    "percentile": "Map the minimum to the 99.5th percentile of the inside to 0 to 1 and clip.",
    "mask": "The value is the share of the voxel that is marked, 0 to 1.",
    "mask_log": "The value is log(1 + 100 p) / log(101) of the share p of the voxel that is marked.",
    "none": "Values stay as they are.",
}
NAMED = (
    "Each file that the cell names is a picture, or several in the order in which it holds them. Files are taken in the order of the cell; "
    "those of a folder (with its sub-folders) and of a pattern such as 001/*.jpg in natural order, folder by folder: numbers "
    "in names by their value (img2 before img10), small and large letters alike, hidden files left out."
)
DECODED = (
    "What a file is, its first bytes say. Decode PNG and JPG as a viewer shows them: turned as the EXIF orientation says, palette and CMYK "
    "as red, green and blue, grey as grey, transparent parts over black (value times alpha over 255, to the nearest). Divide by the "
    "largest value of the type, 255 or of 16-bit grey 65535: black is 0, white 1."
)
SCANS = (
    "A Heidelberg .vol (it begins with HSF-OCT-) is little-endian, with whole numbers of four bytes: width X, number N and height Z of its "
    "B-scans at bytes 12, 16 and 20, width and height of its infrared image at 48 and 52, length L of a B-scan's header at 100. From byte "
    "2048 on lies the infrared image, a byte a pixel, row by row; then, N times, L bytes that are passed over and Z rows of X float32 "
    "values. "
)
PARTS = {  # of a .vol, by `part`
    "scans": "Each B-scan is a picture: a value above 1 becomes 0, the others their fourth root, rounded to 1/65535; 0 is black, 1 white.",
    "infrared": "Its infrared image is the picture, divided by 255.",
}
OF_AN_EYE = (
    "Of a DICOM file of an eye (ophthalmic photography or tomography) each frame is a picture, grey or red, green and blue: divide by the "
    "largest value of the bits that are stored, 255 of 8; MONOCHROME1 from 1 to 0."
)
NO_SCANS = " Leave out ophthalmic tomography, which holds B-scans."
UNPAINTED = (
    f"In colour pictures take away red paint: where red exceeds green and blue by more than {PAINT}/255, and the eight pixels around each "
    f"such one, put the median of all values of the other pixels whose largest is above {NEARLY_BLACK}/255."
)
KEPT = (
    f"Leave out what cannot be decoded, is black everywhere or has more than {MOST_PIXELS:,} pixels; of pictures that are equal to the "
    "last pixel, in size, type and values as decoded, keep the first (colour whose three channels are equal counts as grey)."
)
NO_SLICE = "Leave out DICOM files of scans: nothing says which of their values are to be seen."
OF_A_SLICE = {  # of pictures: what a single DICOM slice becomes, by `normalise`
    "photograph": NO_SLICE, "photograph_unpainted": NO_SLICE,
    "ct_windows": "Read a single DICOM slice of a CT in HU: " + NORMALISED["ct_windows"][0].lower() + NORMALISED["ct_windows"][1:],
}  # fmt: skip
OF_OTHER_SLICES = "Read a single DICOM slice of a CT in HU: {window} linearly to 0 to 1, clipped."
BRAINS = {
    "foreground": "Find the head by a threshold on the foreground and morphology at low resolution.",
    "ct_brain": "Find the brain by Hounsfield units and morphology: tissue of -20 to 100 HU, opened, largest piece, holes filled.",
}


def steps(name: str, own: dict, reference: str) -> list[str]:
    """The steps of an image in order. own: its settings; reference: the image whose grid registered ones are resampled onto, or ""."""
    if are_pictures(own):
        return pictures(own)
    if own["sampling"] in ("resize", "pad"):
        return [*by_voxels(own), stored(own)]
    return [*on_a_grid(name, own, reference), stored(own)]


def brain(own: dict) -> list[str]:
    """The step that finds the inside, none where there is none."""
    if own["brain_mask"] in ("", "none"):
        return []
    return [BRAINS.get(own["brain_mask"], f"Take the brain mask of the file in the table's column '{own['brain_mask']}'.")]


def normalised(own: dict) -> str:
    low, high = own["window"]
    inside = "" if own["brain_mask"] in ("", "none") else " What lies outside the mask is then 0."
    return NORMALISED[own["normalise"]].format(window=f"{low:g} to {high:g}") + inside


def by_voxels(own: dict) -> list[str]:
    """Steps of an image that goes by the number of its voxels."""
    shape = " x ".join(str(length) for length in own["shape"])
    first = "Read the file. Keep its own order of axes, the third first: (s, h, w) = (z, y, x)."
    if own["sampling"] == "pad":
        return [first, *brain(own), normalised(own), f"Fill each axis with zeros, or cut it, on both sides alike, to {shape}."]
    means = "along each axis a stored voxel is the plain mean of all voxels that it touches"
    return [
        first, *brain(own), normalised(own), f"Pad the slices with zeros on both sides where there are fewer than {own['shape'][0]}.",
        f"Resample to {shape}: {means} (area interpolation).",
    ]  # fmt: skip


def on_a_grid(name: str, own: dict, reference: str) -> list[str]:
    """Steps of an image that is resampled in millimetres."""
    shape = " x ".join(str(length) for length in own["shape"])
    spacing = ", ".join(f"{mm:g} mm" if mm else "its own" for mm in own["spacing"])
    registered = own["register"] and reference not in ("", name)
    place = f"the grid of '{reference}' (its own where the patient has none)" if registered else "its own axes"
    marked = " A mask marks what is above 0 (above 0.5 in files of fractions)." if own["normalise"] in MASKS else ""
    found = [
        ORIENTED + marked, *brain(own),
        f"Resample through the affines onto {place}, centred on the middle of the head (of the field of view where no head is looked for), "
        f"spacing (s, h, w) {spacing}, shape {shape}: a voxel is the mean of the source over its own extent, linear where none grows.",
    ]  # fmt: skip
    if own["axis"] == "time":
        found.append(f"Keep the one slice through the middle of the head, and of the time points {own['shape'][0]} evenly spaced ones.")
    elif not own["spacing"][0]:
        found.append(
            f"Of the slices whose head is at least a tenth of the largest one's keep {own['shape'][0]}, evenly spaced, first and last "
            "included; the same places in every image."
        )
    return [*found, normalised(own)]


def pictures(own: dict) -> list[str]:
    """Steps of a sequence of pictures."""
    most, rows, columns = own["shape"]
    low, high = own["window"]
    infrared = own["part"] == "infrared"
    return [
        NAMED, DECODED, SCANS + PARTS[own["part"]], OF_AN_EYE + NO_SCANS * infrared,
        *([UNPAINTED] if own["normalise"] == "photograph_unpainted" else []),
        OF_A_SLICE.get(own["normalise"], OF_OTHER_SLICES).format(window=f"{low:g} to {high:g}"),
        "Make them grey: 0.299 red + 0.587 green + 0.114 blue." if own["channels"] == 1 else "Repeat grey as three equal channels.",
        KEPT,
        f"Fit each whole into {rows} x {columns}, its aspect kept, in the middle, black around it. In a picture of H x W pixels a pixel of "
        f"the frame is t = max(H / {rows}, W / {columns}) pixels long. That in row i, column j is the mean over a box of max(1, t) by "
        f"max(1, t) pixels around row (H - 1) / 2 + t (i - {(rows - 1) / 2:g}), column (W - 1) / 2 + t (j - {(columns - 1) / 2:g}): each "
        "pixel by the part of it that is in the box, what is outside of the picture as 0; counted from 0.",
        f"Round to {levels(own)} (stored as {own['dtype']}).",
        picked(own["pick"], most),
        f"Keep their order and fill up with zeros to {most}. The mask is 1 for each picture, 0 behind the last. Channels last: "
        f"{own['channels']}.",
    ]  # fmt: skip


def picked(pick: str, most: int) -> str:
    """Which pictures are kept where there are too many."""
    if pick == "central":
        return (
            f"Of more pictures than {most}, sort those of each file that holds several, and those of all other files together, by how near "
            "they are to the middle (n - 1) / 2 of their n, numbered from 0, of two as near the later first. Of all first ones, then all "
            f"second ones and so on, earlier files first, keep {most}."
        )
    spaced = f"numbers k (n - 1) / {most - 1}, k = 0 to {most - 1}, to the nearest, halves to the even" if most > 1 else "number n // 2"
    return f"Of n pictures more than {most}, keep {spaced} (from 0)."


def levels(own: dict) -> str:
    """How finely values are stored."""
    return f"{'32767 steps to either side of 0' if own['dtype'] == 'int16' else '255 steps'} of the range"


def stored(own: dict) -> str:
    """What is done last."""
    return (
        f"Round to {levels(own)} (stored as {own['dtype']}), which changes little. Slices that are padding or hold nothing of the "
        f"head are 0, and so is their mask. Channels last: {own['channels']}."
    )
