"""The whole program on a workdir with networks or checkpoints of another version: one message with the cure, and nothing is lost."""

import pathlib
import shutil
import zlib

import attempts
import damaged_networks
import pytest
import roads

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_program_names_a_network_of_another_version(trained, mode):
    """One message with the cure, and nothing in the workdir is gone or other than before."""
    roads.put_back(trained)
    chosen = trained.workdir / "networks" / "r0-f1-s0"
    whole = trained.workdir.parent / "whole"
    shutil.copytree(chosen, whole)
    damaged_networks.OTHERS["a network of another shape"](chosen, roads.read_whole(chosen)[0])
    before = contents(trained.workdir)
    said = attempts.program(f"--workdir={trained.workdir}", f"--mode={mode}", *trained.more[mode])
    assert attempts.fault_of(said, (str(chosen),)) == "" and said.code == 2
    assert "of another version of jaxstroke" in said.message and "train again in a new --workdir" in said.message
    after = contents(trained.workdir)
    assert {name: after.get(name) for name in before} == before
    shutil.rmtree(chosen)
    whole.rename(chosen)


def test_program_names_checkpoints_that_cannot_be_read(trained):
    roads.put_back(trained)
    folder, whole = trained.workdir / "checkpoints", trained.workdir.parent / "whole"
    shutil.copytree(folder, whole)
    for path in folder.rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    before = contents(folder)
    said = attempts.program(f"--workdir={trained.workdir}", "--mode=train")
    assert attempts.fault_of(said, (str(folder),)) == "" and said.code == 2 and "use a new --workdir" in said.message
    assert contents(folder) == before
    shutil.rmtree(folder)
    whole.rename(folder)


def contents(folder: pathlib.Path) -> dict[str, int]:
    """CRC of every file that training leaves; run.json says when it was last used."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "run.json" and "external" not in path.parts]
    return {str(path.relative_to(folder)): zlib.crc32(path.read_bytes()) for path in files}
