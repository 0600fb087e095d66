"""What went in, as counts and means: by hand, and never of fewer than five patients."""

import numpy as np
import pytest

from jaxstroke.training import drift


def test_means_are_of_the_known():
    found = drift.described([1.0, None, 3.0, 2.0, float("nan"), 4.0, 5.0], 7)
    assert found == {"known": 5, "of": 7, "mean": 3.0, "sd": pytest.approx(np.sqrt(2))}
    assert drift.described([1.0, 2.0, 3.0, 4.0, None], 5) == {"known": 4, "of": 5, "mean": None, "sd": None}


def test_rare_levels_are_counted_together_or_not_at_all():
    assert drift.counted(["F"] * 6 + ["M"] * 5 + ["X"] * 2 + [None]) == {"known": 13, "of": 14, "counts": {"F": 6, "M": 5}}
    found = drift.counted(["F"] * 6 + ["X"] * 3 + ["Y"] * 3)
    assert found["counts"] == {"F": 6, "others": 6}
    found = drift.counted(["others"] * 7 + ["X"] * 3 + ["Y"] * 3)
    assert found["counts"] == {"others": 13}
