"""What every test shares: where the real data is, eight virtual devices, and small configs."""

import importlib.util
import os
import pathlib
import sys
import tempfile
from importlib.metadata import version

# Tests compile many small programs and run each for a moment: compile fast, and what is equal only once.
FAST = ["--xla_llvm_disable_expensive_passes=true", "--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):  # less than half the compiler's time; a version that does not know it ends the process
    FAST.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FAST])

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp(prefix="jaxstroke-tests-"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project_root() -> pathlib.Path:
    return ROOT


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    """The folder of public real data sets; tests that need it skip where it is absent."""
    folder = pathlib.Path(os.environ.get("JAXSTROKE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "soop" / "participants.tsv").exists():
        pytest.skip(f"real data not found at {folder}: set JAXSTROKE_DATA to a folder with soop/ and ist/")
    return folder


def config_module(name: str):
    """A file of configs/, imported."""
    spec = importlib.util.spec_from_file_location(f"{name}_config", ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def config_file():
    return config_module("mri_cnn_lstm")


@pytest.fixture(scope="session")
def ich_file():
    return config_module("ich_multitask")


@pytest.fixture(scope="session")
def sequence_file():
    return config_module("ct_conv_lstm")


@pytest.fixture(scope="module")
def signals_kept():
    """The program's SIGTERM handler and arguments must not outlive a file of tests."""
    from jaxstroke import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main.signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", sys.argv)
        yield


@pytest.fixture(scope="session")
def retina_file():
    return config_module("retina_simclr")


@pytest.fixture(scope="session")
def trimodal_file():
    return config_module("trimodal_align")
