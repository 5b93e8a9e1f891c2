from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.configured import Folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr("keepalive.config.file.SYSTEM_FILE", tmp_path / "etc" / "keepalive.toml")
    return Folder(tmp_path)
