"""How `jaxstroke.preprocess` makes an image, in words, for whoever has to do it without the package."""

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
    "photograph": "Divide integers by the largest of their type; 0 to 1.",
    "none": "Values stay as they are.",
}
BRAINS = {
    "foreground": "Find the head by a threshold on the foreground and morphology at low resolution.",
    "ct_brain": "Find the brain by Hounsfield units and morphology: tissue of -20 to 100 HU, opened, largest piece, holes filled.",
}


def steps(name: str, own: dict, reference: str) -> list[str]:
    """The steps of an image in order. own: its settings; reference: the image whose grid registered ones are resampled onto, or ""."""
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
    """Steps of an image that is resampled in millimetres, or of pictures."""
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
    pictures = f"Pictures (PNG, JPEG) are instead fitted whole into {own['shape'][1]} x {own['shape'][2]}, aspect kept, one a slice."
    return [*found, pictures, normalised(own)]


def stored(own: dict) -> str:
    """What is done last."""
    levels = "32767 steps to either side of 0" if own["dtype"] == "int16" else "255 steps"
    return (
        f"Round to {levels} of the range (stored as {own['dtype']}), which changes little. Slices that are padding or hold nothing of the "
        f"head are 0, and so is their mask. Channels last: {own['channels']}."
    )
