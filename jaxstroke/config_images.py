"""The settings of an image in a config; see `config.base` for all other keys."""

from ml_collections import ConfigDict

OF_PICTURES = {"part": "scans", "pick": "even"}  # settings that only pictures have, with their defaults


def image(column: str, **settings) -> ConfigDict:
    """Settings of one image; they decide how it is prepared, so two configs with equal settings share records.

    column        column of the table with a file, a folder, or several files joined by '|'; of pictures also patterns such as 001/*.jpg
    kind          sequence: slices or time points, `b s h w c` | volume: `b d h w c` | series: `b s d h w c`
    axis          what a sequence runs over: slice | time
    spacing       mm of the stored grid (z, y, x); 0 keeps the reference's own
    shape         stored (s, h, w); shorter ones are padded and masked, of longer ones evenly spaced slices are kept
    channels      1, or 3 for colour photographs and ct_windows
    sampling      grid (a grid in mm along the file's axes) | resize (all of the file's voxels by their number: paper 3, `spacing` unused)
                  | pad (the file's voxels as they are, zeros or a cut on both sides of each axis)
                  | picture (every PNG, JPG or single DICOM slice, every B-scan of a Heidelberg .vol and every frame of a DICOM file of an
                  eye is an element of the sequence, whole in `shape[1:]`, its aspect kept, black around it; files in the cell's order,
                  of a folder or pattern in natural order: img2 before img10)
    part          of pictures: scans | infrared: of a .vol, which holds both, the B-scans or the one infrared image. Other files as they are
    pick          of pictures, where there are more than shape[0]: even (evenly spaced, first and last included) | central (nearest to the
                  middle of their file; of files with one picture each, to the middle of them). All are kept where shape[0] is as large
    normalise     zscore (inside the brain, clipped at 5) | window | window_erased | ct_windows | scale | percentile
                  | mask (its share of a voxel) | mask_log (its logarithm) | none
                  | photograph (0 to the largest of a file's type becomes 0 to 1; means sampling picture)
                  | photograph_unpainted (the same where somebody has painted a lesion in red: the paint becomes the grey of the tissue)
                  of pictures one of the two, or where DICOM slices in HU are among them window or ct_windows; PNG and JPG, which somebody
                  has windowed, are then taken as they look
    window        (low, high) in the file's own unit, stored as 0 to 1; what lies outside is 0 or 1, or with window_erased 0; scale refuses
                  no image, the other two one that seems to be in another unit. ct_windows has its own: brain, subdural and bone
    register      resample onto the grid of `cohort.reference` through the affines
    brain_mask    foreground (the head, by threshold and morphology) | ct_brain (of an unstripped head CT in HU) | none (such as stripped
                  ones) | a column with mask files; what lies outside is 0 in the stored image
    dtype         int16 with a scale | uint8
    """
    defaults = {
        "column": column, "kind": "sequence", "axis": "slice", "spacing": (0.0, 0.0, 0.0), "shape": (24, 192, 192), "channels": 1,
        "sampling": "grid", "normalise": "zscore", "window": (0.0, 1.0), "register": True, "brain_mask": "foreground", "dtype": "int16",
        **OF_PICTURES,
    }  # fmt: skip
    unknown = set(settings) - set(defaults)
    if unknown:
        raise KeyError(f"unknown image setting {sorted(unknown)}; known: {sorted(defaults)}")
    return ConfigDict(defaults | settings)


def are_pictures(image) -> bool:
    """Whether each file that an image's cell names is a picture of its own. image: its settings, ConfigDict or dict."""
    return image["sampling"] == "picture" or image["normalise"].startswith("photograph")
