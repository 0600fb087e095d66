"""A made-up cohort of pictures as they come out of a hospital: any number a patient, some twice, some that cannot be read."""

import pathlib

import eyes_on_disk as eyes
import numpy as np
import pandas as pd
import PIL.Image
from picture_files import noise, picture_bytes

PATIENTS = 16
SHAPE = (5, 16, 16)  # stored: patients with more pictures have some left out
RUN = [
    "--config.device.data=1", "--config.cohort.workers=1", f"--config.images.images.shape={SHAPE}", "--config.model.widths=(4,8)",
    "--config.model.hidden=8", "--config.split.folds=2", "--config.train.epochs=2", "--config.train.batch_size=8",
    "--config.evaluate.bootstrap=50", "--config.train.seeds=(0,1)", "--config.train.buckets=(2,)",
]  # fmt: skip
ODD = "P00"  # the patient with pictures of every kind
EYES = "P08"  # the patient with files that hold several: seven pictures in all, and a black one


def write(folder: pathlib.Path) -> pathlib.Path:
    """`<folder>/table.csv` and `<folder>/Doe_Jane/<patient>/imgN.jpg`; returns the table. The first patient has odd pictures too."""
    rows = []
    for number in range(PATIENTS):
        patient = f"P{number:02d}"
        place = folder / "Doe_Jane" / patient
        place.mkdir(parents=True, exist_ok=True)
        for image in range(1 + number % 7):
            content = noise(100 * number + image, (40, 31)) // (1 if number % 2 else 3)  # those with the outcome are brighter
            (place / f"img{image + 1}.jpg").write_bytes(picture_bytes(content, "JPEG", quality=95))
        rows.append({"patient_id": patient, "images": f"Doe_Jane/{patient}", "diagnosis": number % 2, "age": 50 + number})
    odd = folder / "Doe_Jane" / ODD
    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # the right way up when it is turned by a quarter
    (odd / "img2.jpg").write_bytes(picture_bytes(noise(1, (31, 41)), "JPEG", exif=turned.tobytes()))
    (odd / "img3.png").write_bytes(picture_bytes(noise(2, (40, 31), np.uint16)))
    (odd / "img4.png").write_bytes(picture_bytes(noise(3, (23, 37, 4))))  # half transparent
    (odd / "img5.png").write_bytes(picture_bytes(PIL.Image.open(odd / "img1.jpg").convert("RGB")))  # the first again
    (odd / "img10.png").write_bytes(picture_bytes(noise(4, (9, 7, 3))))  # smaller than the frame
    (odd / "img11.jpg").write_bytes(b"not a picture")
    (odd / "list.txt").write_text("img1, img2")
    scans = eyes.reflectivity(5, (4, 21, 33))
    scans[1], scans[2, :5] = 0, eyes.NOTHING
    (folder / "Doe_Jane" / EYES / "img9.vol").write_bytes(eyes.vol_bytes(scans, noise(6)))
    (folder / "Doe_Jane" / EYES / "img20.dcm").write_bytes(eyes.eye_bytes(noise(7, (2, 19, 33), np.uint16) & 4095, stored=12))
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"
