"""The PyTorch networks are those of the comparison with peers: its folder of scripts is searched too, and this one."""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "peers")]
