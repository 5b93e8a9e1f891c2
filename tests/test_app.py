"""What the app does before its service is there."""

from __future__ import annotations

import errno
import os
from types import ModuleType

import pytest

from keepalive import app
from keepalive.core.events import ControlFailed
from keepalive.engine.clock import BootClock
from tests.support.virtual import Recorder

pytestmark = pytest.mark.looptime


async def test_a_service_that_cannot_be_loaded_yet_is_told_once_and_loaded_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service, tries = ModuleType("service"), []

    def load(name: str) -> ModuleType:
        tries.append(name)
        if len(tries) < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return service

    monkeypatch.setattr(app, "import_module", load)
    told = Recorder()

    assert await app._loaded(BootClock(), told) is service
    assert tries == ["keepalive.service"] * 3
    (event,) = told.named("control.failed")
    assert isinstance(event, ControlFailed)
    assert "Too many open files" in event.cause
