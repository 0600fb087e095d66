"""The index plan: every row once an epoch, the same for the same key, balanced where asked."""

import numpy as np

from jaxstroke.feed import plan


def test_every_row_once_then_padding():
    rows = np.arange(10, 23, dtype=np.int32)
    table = plan.epoch_rows(rows, 4, (0, 1, 2))
    assert table.shape == (4, 4)
    assert sorted(table[table >= 0]) == list(rows)
    assert (table.reshape(-1)[13:] == -1).all()


def test_same_key_same_order_other_epoch_other_order():
    rows = np.arange(50, dtype=np.int32)
    np.testing.assert_array_equal(plan.epoch_rows(rows, 8, (3, 1)), plan.epoch_rows(rows, 8, (3, 1)))
    assert not np.array_equal(plan.epoch_rows(rows, 8, (3, 1)), plan.epoch_rows(rows, 8, (3, 2)))


def test_oversampling_balances_and_keeps_every_patient():
    rows = np.arange(20, dtype=np.int32)
    labels = np.array([1.0] * 4 + [0.0] * 15 + [np.nan])
    table = plan.epoch_rows(rows, 5, (0,), labels)
    used = table[table >= 0]
    assert set(used) >= set(range(19))
    assert (labels[used] == 1).sum() == (labels[used] == 0).sum() == 15


def test_one_class_only_cannot_be_balanced_and_stays():
    rows = np.arange(6, dtype=np.int32)
    table = plan.epoch_rows(rows, 6, (0,), np.ones(6))
    assert sorted(table.reshape(-1)) == list(rows)
