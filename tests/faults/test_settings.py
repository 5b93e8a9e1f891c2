"""What is read while the daemon runs: its configuration, its lists of targets, its secrets."""

from __future__ import annotations

import signal
from pathlib import Path

from benchmarks.daemon import until
from benchmarks.fleet import ACCOUNT_ID, Fleet
from tests.faults.conftest import Figure
from tests.faults.house import FLEET, House, house

LONG = Fleet(targets=3, users=1, interval=2.0)
"""A window of 45 s in real time: secrets are looked at every three seconds, in real time too."""


async def test_a_bad_file_at_a_reload_leaves_the_old_configuration_in_force(
    tmp_path: Path, figure: Figure
) -> None:
    async with house(tmp_path) as home, home.daemon() as daemon:
        home.edit(lambda text: text.replace("interval =", "intervall ="))
        daemon.send(signal.SIGHUP)
        await until(lambda: bool(daemon.lines("config.rejected")))
        await home.renewed()
        home.edit(lambda text: text.replace("intervall =", "interval ="))
        daemon.send(signal.SIGHUP)
        await until(lambda: bool(daemon.lines("config.reloaded")))
        figure("{} heartbeats, 0 lapses", home.sent)
        assert home.lapses == 0
        [rejected] = daemon.lines("config.rejected")
    assert "did you mean `interval`?" in str(rejected["faults"])


async def test_a_configuration_that_vanishes_is_gone_on_with(tmp_path: Path, figure: Figure) -> None:
    async with house(tmp_path) as home, home.daemon() as daemon:
        home.config.unlink()
        daemon.send(signal.SIGHUP)
        await until(lambda: bool(daemon.lines("config.rejected")))
        await home.renewed()
        figure("{} heartbeats, 0 lapses", home.sent)
        assert home.lapses == 0


async def test_a_list_of_targets_that_vanishes_lets_nobody_go(tmp_path: Path, figure: Figure) -> None:
    async with house(tmp_path) as home:
        [name] = FLEET.names
        rows = "\n".join(f"{ACCOUNT_ID},{script}" for script in FLEET.scripts(name))
        listed = tmp_path / "targets.csv"
        listed.write_text(f"account_id,script\n{rows}\n")
        home.edit(lambda text: text.partition("[[targets]]")[0] + '[[targets]]\nfile = "targets.csv"\n')
        async with home.daemon() as daemon:
            listed.unlink()
            daemon.send(signal.SIGHUP)
            await until(lambda: bool(daemon.lines("config.rejected")))
            await home.renewed()
            figure("{} heartbeats, 0 lapses", home.sent)
            assert home.lapses == 0
            [rejected] = daemon.lines("config.rejected")
    assert "targets.csv" in str(rejected["faults"])


def by_file(home: House) -> tuple[Path, str]:
    """Let the configuration name a file for the token of its only user; give the file, and what it says."""
    [name] = home.fleet.names
    secret, token = home.folder / "prod.token", f"token-of-{name}\n"
    secret.touch(0o600)
    secret.write_text(token)
    home.edit(lambda text: text.replace(f'api_token = "token-of-{name}"', 'api_token_file = "prod.token"'))
    return secret, token


async def test_a_secret_that_is_rotated_to_a_bad_one_and_back_lapses_nobody(
    tmp_path: Path, figure: Figure
) -> None:
    async with house(tmp_path, LONG) as home:
        secret, token = by_file(home)
        async with home.daemon() as daemon:
            secret.write_text("a-token-of-nobody\n")
            await until(lambda: bool(daemon.lines("credential.denied")))
            secret.write_text(token)
            before = len(daemon.lines("config.reloaded"))
            figure("everybody renewed {} s after it was back, 0 lapses", await home.renewed())
            assert home.lapses == 0
            await until(lambda: len(daemon.lines("config.reloaded")) > before)
            log = daemon.log
    assert "a-token-of-nobody" not in log


async def test_a_secret_file_that_vanishes_is_gone_on_with(tmp_path: Path, figure: Figure) -> None:
    async with house(tmp_path, LONG) as home:
        secret, _ = by_file(home)
        async with home.daemon() as daemon:
            secret.unlink()
            daemon.send(signal.SIGHUP)
            await until(lambda: bool(daemon.lines("config.rejected")))
            await home.renewed()
            figure("{} heartbeats, 0 lapses", home.sent)
            assert home.lapses == 0
