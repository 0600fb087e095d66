"""Data runs through the package in one direction, and every file can be read in one sitting."""

import ast
import collections
import pathlib

import pytest

ROOMS = (
    "errors", "outcomes", "config_images", "config_model", "config_text", "config_training", "config_variants", "config", "config_json",
    "limits", "ranges",
    "check_network", "check_reports", "check", "workdir", "command_line", "compilations", "restart", "full_disk", "hosts", "terminal",
    "cohort", "preprocess", "feed", "models", "evaluation", "training", "explain", "benchmark", "interop", "compare", "main",
)  # fmt: skip
ALONE = {"evaluation": {"errors", "outcomes"}}  # no other room, no JAX: reports are made where no accelerator library is
PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "jaxstroke"
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: pathlib.Path) -> set[str]:
    """Full names of modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = room(path.relative_to(PACKAGE).parts)
    if own == "__init__":
        return
    used = {name.split(".")[1] for name in imported(path) if name.startswith("jaxstroke.")} - {own}
    above = ALONE.get(own, set(ROOMS[: ROOMS.index(own)]))
    assert used <= above, f"{path.name} in '{own}' imports from {sorted(used - above)}"


def test_evaluation_does_not_import_jax():
    names = {name.split(".")[0] for path in (PACKAGE / "evaluation").rglob("*.py") for name in imported(path)}
    assert names.isdisjoint({"jax", "flax", "optax", "orbax", "grain"})


def test_files_are_short():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}


def test_helpers_of_tests_have_names_of_their_own():
    """Folders of tests put themselves on the path: of two files of one name, a worker that runs both folders would see the first only."""
    folder = pathlib.Path(__file__).resolve().parent
    names = collections.Counter(path.name for path in folder.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
