"""Evaluation stands alone: numbers leave the accelerator once, and everything after it runs without JAX."""

import subprocess
import sys


def test_evaluation_imports_neither_jax_nor_another_room():
    code = (
        "import sys, jaxstroke.evaluation.report, jaxstroke.evaluation.comparators; "
        "rooms = {m.split('.')[1] for m in sys.modules if m.startswith('jaxstroke.')}; "
        "print(sorted(rooms), 'jax' in sys.modules, 'flax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['errors', 'evaluation', 'outcomes'] False False"
