"""The campaign is a folder of scripts: its files import each other by their own names, here as when `reading.py` runs."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
