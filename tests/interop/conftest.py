"""The PyTorch networks are those of the comparison with peers: its folder of scripts is searched too."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
