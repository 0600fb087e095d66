"""Tests of DICOM series share a writer of them, imported by its own name."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
