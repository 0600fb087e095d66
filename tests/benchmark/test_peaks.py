"""Peaks: the data sheet that fits a device, and none where none does."""

import pytest

from jaxstroke.benchmark import peaks


@pytest.mark.parametrize(
    ("kind", "dtype", "tflops", "gb_s"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5, 3350),
        ("NVIDIA H100 80GB HBM3", "float32", 494.7, 3350),
        ("NVIDIA H100 PCIe", "bfloat16", 756, 2000),
        ("NVIDIA H200", "bfloat16", 989.5, 4800),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", 312, 1555),
        ("NVIDIA A100-SXM4-80GB", "float32", 156, 2039),
        ("NVIDIA A100 80GB PCIe", "bfloat16", 312, 1935),
        ("NVIDIA A10", "bfloat16", 125, 600),
        ("Tesla T4", "float32", 8.1, 320),
        ("Tesla T4", "bfloat16", None, 320),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2, 1008),
        ("TPU v4", "bfloat16", 275, 1228),
        ("TPU v5 lite", "bfloat16", 197, 819),
        ("TPU v5p", "bfloat16", 459, 2765),
        ("TPU v6 lite", "bfloat16", 918, 1638),
        ("TPU7x", "bfloat16", 1153.5, 3690),
        ("NVIDIA A10G", "bfloat16", None, None),
        ("Radeon", "bfloat16", None, None),
    ],
)
def test_peaks_by_kind(kind, dtype, tflops, gb_s):
    peak = peaks.of(kind, dtype)
    assert (peak.tflops, peak.gb_s) == (tflops, gb_s)
    assert (peak.tflops_source is None) == (tflops is None) and (peak.gb_s_source is None) == (gb_s is None)


def test_peak_of_float32_without_tf32():
    assert peaks.of("NVIDIA H100 80GB HBM3", "float32", "highest").tflops == 67


def test_measured_peaks_are_of_this_machine():
    peak = peaks.measure(64, 1024, 2)
    assert peak.tflops > 0 and peak.gb_s > 0 and peak.tflops_source.startswith(peaks.MEASURED)


@pytest.mark.parametrize(
    "kind", ["NVIDIA RTX A1000 Laptop GPU", "NVIDIA GH200 480GB", "NVIDIA H200 NVL", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"]
)
def test_names_that_only_look_alike_have_no_peak(kind):
    assert peaks.of(kind, "bfloat16") == peaks.Peak()
