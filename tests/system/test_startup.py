from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.daemon import ROOT
from keepalive._version import __version__
from tests.system.commands import keepalive, python


def unpack(folder: Path) -> Path:
    """Put what is in the folder's wheel into a folder of its own; it has the command `keepalive`."""
    (wheel,) = folder.glob("*.whl")
    installed = folder / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    (metadata,) = installed.glob("*.dist-info")
    entry_points = (metadata / "entry_points.txt").read_text(encoding="utf-8")
    assert "keepalive = keepalive.cli:main" in entry_points
    return installed


async def test_the_module_is_the_command(tmp_path: Path) -> None:
    ran = await keepalive(tmp_path, "--version")
    assert (ran.code, ran.out, ran.err) == (0, f"keepalive {__version__}\n", "")


async def test_the_wheel_builds_and_what_is_in_it_runs(tmp_path: Path) -> None:
    built = await python(
        ROOT, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path), timeout=50
    )
    assert built.code == 0, built.err
    installed = unpack(tmp_path)
    modules = {path.relative_to(ROOT) for path in (ROOT / "keepalive").rglob("*.py")}
    assert {path.relative_to(installed) for path in installed.rglob("*.py")} == modules
    where = "import keepalive; print(keepalive.__file__)"
    environ = {"PYTHONPATH": str(installed)}
    assert str(installed) in (await python(tmp_path, "-c", where, environ=environ)).out
    ran = await keepalive(tmp_path, "run", "--help", environ=environ)
    assert ran.code == 0, ran.err
    assert "Hold all targets eligible" in ran.out
