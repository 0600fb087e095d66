"""What a device can do at most: data sheets for accelerators, a measurement in the same run for a CPU."""

import re
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp

MEASURED = "measured in this run"


@dataclass(frozen=True)
class Sheet:
    """A data sheet, one JAX device: dense TFLOP/s and GB/s, None where there is no such unit.

    kind      pattern sought in `device_kind`; the first sheet that fits counts
    tensor    float32 as XLA multiplies it unless told otherwise: TF32 on NVIDIA's tensor cores, bfloat16 on a TPU; None = like float32
    float32   without that: CUDA cores
    """

    kind: str
    bfloat16: float | None
    tensor: float | None
    float32: float | None
    gb_s: float
    source: str


# A device of TPU v2, v3 and 7x is one of a chip's two cores. NVIDIA's tensor figures are without sparsity: half of most headlines.
SHEETS = (
    Sheet(r"\bH200\b(?! NVL)", 989.5, 494.7, 67.0, 4800.0, "NVIDIA H200 data sheet (SXM)"),
    Sheet(r"\bH100 NVL", 835.0, 417.5, 60.0, 3900.0, "NVIDIA H100 data sheet (NVL)"),
    Sheet(r"\bH100 PCIe", 756.0, 378.0, 51.0, 2000.0, "NVIDIA H100 data sheet (PCIe)"),
    Sheet(r"\bH100\b", 989.5, 494.7, 67.0, 3350.0, "NVIDIA H100 data sheet (SXM)"),
    Sheet(r"\bA100\b.*PCIe.*80GB|\bA100 80GB PCIe", 312.0, 156.0, 19.5, 1935.0, "NVIDIA A100 data sheet (80 GB PCIe)"),
    Sheet(r"\bA100\b.*80GB", 312.0, 156.0, 19.5, 2039.0, "NVIDIA A100 data sheet (80 GB SXM)"),
    Sheet(r"\bA100\b", 312.0, 156.0, 19.5, 1555.0, "NVIDIA A100 data sheet (40 GB)"),
    Sheet(r"\bA10\b", 125.0, 62.5, 31.2, 600.0, "NVIDIA A10 data sheet"),
    Sheet(r"\bL4\b", 121.0, 60.0, 30.3, 300.0, "NVIDIA L4 data sheet"),
    Sheet(r"RTX 4090(?! (D|Laptop))", 165.2, 82.6, 82.6, 1008.0, "NVIDIA Ada GPU architecture paper (RTX 4090)"),
    Sheet(r"\bT4\b", None, None, 8.1, 320.0, "NVIDIA T4 data sheet"),
    Sheet(r"V100S", None, None, 16.4, 1134.0, "NVIDIA V100 data sheet (V100S PCIe)"),
    Sheet(r"V100.*PCIE", None, None, 14.0, 900.0, "NVIDIA V100 data sheet (PCIe)"),
    Sheet(r"V100", None, None, 15.7, 900.0, "NVIDIA V100 data sheet (SXM2)"),
    Sheet(r"TPU v2", 22.5, 22.5, None, 350.0, "Google Cloud TPU v2 page, half a chip"),
    Sheet(r"TPU v3", 61.5, 61.5, None, 450.0, "Google Cloud TPU v3 page, half a chip"),
    Sheet(r"TPU v4(?! ?(lite|i))", 275.0, 275.0, None, 1228.0, "Google Cloud TPU v4 page"),
    Sheet(r"TPU v5 ?(lite|e)", 197.0, 197.0, None, 819.0, "Google Cloud TPU v5e page"),
    Sheet(r"TPU v5", 459.0, 459.0, None, 2765.0, "Google Cloud TPU v5p page"),
    Sheet(r"TPU v6", 918.0, 918.0, None, 1638.0, "Google Cloud TPU v6e page"),
    Sheet(r"TPU ?v?7x", 1153.5, 1153.5, None, 3690.0, "Google Cloud TPU7x page, half a chip"),
)


@dataclass(frozen=True)
class Peak:
    """The most a device does, each with where the number is from; None where that is not known."""

    tflops: float | None = None
    tflops_source: str | None = None
    gb_s: float | None = None
    gb_s_source: str | None = None


def of(kind: str, dtype: str, precision: str | None = None) -> Peak:
    """The peak of one accelerator by its `device_kind`, computing in `dtype` (float32 or bfloat16).

    precision: of float32 products, `jax_default_matmul_precision`. An unknown device has no peak, nor has a MIG slice.
    """
    sheet = next((sheet for sheet in SHEETS if re.search(sheet.kind, kind, re.IGNORECASE)), None)
    if sheet is None or "MIG" in kind:
        return Peak()
    if dtype == "bfloat16":
        tflops, unit = sheet.bfloat16, "bfloat16"
    elif sheet.tensor is not None and precision in (None, "default", "fastest", "tensorfloat32"):
        plain = f"; {sheet.float32:g} without" if sheet.float32 else ""
        tflops, unit = sheet.tensor, f"float32 by {'bfloat16' if sheet.float32 is None else 'TF32'}{plain}"
    else:
        tflops, unit = sheet.float32, "float32"
    return Peak(tflops, f"{sheet.source}, {unit}" if tflops else None, sheet.gb_s, sheet.source)


def measure(side: int = 2048, length: int = 2**26, repetitions: int = 5) -> Peak:
    """The peak of the first device by trial: the best of several float32 products of two `side x side` matrices, and of several negations
    of `length` numbers of 4 bytes in place, each read once and written once. (A copy to fresh memory measures page faults.)"""
    square = jnp.eye(side)
    product = shortest(jax.jit(lambda x: x @ x), square, repetitions)
    negation = shortest(jax.jit(jnp.negative, donate_argnums=0), jnp.ones(length), repetitions)
    return Peak(
        2 * side**3 / product / 1e12,
        f"{MEASURED}: {side} x {side} float32 product",
        8 * length / negation / 1e9,
        f"{MEASURED}: {length * 4 / 2**20:g} MiB negated in place",
    )


def shortest(function, value: jax.Array, repetitions: int) -> float:
    """Seconds of the fastest call, each given the result of the one before; the first, which compiles, is left out."""
    value, found = jax.block_until_ready(function(value)), []
    for _ in range(repetitions):
        began = time.perf_counter()
        value = jax.block_until_ready(function(value))
        found.append(time.perf_counter() - began)
    return min(found)
