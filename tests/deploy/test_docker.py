"""The Dockerfile and the compose files: what may enter an image, and what a container may do."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from keepalive.config import Configuration, load

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

Tree = Mapping[str, Any]


class Compose(yaml.SafeLoader):
    """YAML with compose's own tag for a list that shall be empty."""

    def reset(self, node: yaml.Node) -> list[object]:
        assert isinstance(node, yaml.SequenceNode)
        assert not node.value
        return []


Compose.add_constructor("!reset", Compose.reset)


def services(name: str) -> Mapping[str, Tree]:
    tree: Mapping[str, Mapping[str, Tree]] = Compose((DOCKER / name).read_text()).get_single_data()
    return tree["services"]


def instruction(name: str) -> str:
    """The last instruction of that name, its continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    found: list[str] = re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)
    return found[-1]


def test_the_image_runs_as_a_numeric_user_that_is_not_root() -> None:
    assert instruction("USER") == "65532:65532"


def test_no_shell_stands_between_the_engine_and_the_daemon() -> None:
    assert instruction("ENTRYPOINT") == '["keepalive"]'
    assert instruction("CMD") == '["run"]'
    assert instruction("HEALTHCHECK").endswith('CMD ["keepalive", "health"]')
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_the_first_look_at_its_health_leaves_time_within_ten_seconds() -> None:
    found = re.search(r"--interval=(\d+)s --timeout=(\d+)s", instruction("HEALTHCHECK"))

    assert found
    assert int(found[1]) < 8


def test_what_has_to_be_written_are_volumes_of_the_user() -> None:
    volumes = re.findall(r'"([^"]+)"', instruction("VOLUME"))

    assert volumes == ["/var/lib/keepalive", "/run/keepalive"]
    for path in volumes:
        assert re.search(rf"install -d -m 07\d\d -o 65532 -g 65532 {path}\b", DOCKERFILE)


def test_every_wheel_has_a_hash_and_nothing_is_built_from_a_source_of_others() -> None:
    installs = re.findall(r"pip\S*(?: --python \S+)? install [^&\n]*(?:\\\n[^&\n]*)?-r ", DOCKERFILE)

    assert len(installs) == 2
    assert all(
        "--require-hashes" in one and "--only-binary :all:" in one and "--no-deps" in one for one in installs
    )


def test_no_rule_of_the_linter_is_switched_off() -> None:
    assert "hadolint" not in DOCKERFILE
    assert not list(ROOT.glob(".hadolint*"))


@pytest.mark.parametrize("label", ["title", "description", "licenses", "source", "version", "revision"])
def test_the_image_says_what_it_is(label: str) -> None:
    assert f"org.opencontainers.image.{label}=" in instruction("LABEL")


def test_only_what_is_copied_enters_the_context() -> None:
    first, *lines = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    entering = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    }

    assert first == "*"
    assert entering == copied
    assert any(fnmatch.fnmatch("keepalive/core/__pycache__", line.rstrip("/")) for line in lines)


@pytest.mark.parametrize(
    ("file", "name"),
    [("compose.yaml", "keepalive"), ("compose.yaml", "consumer"), ("trial.yaml", "emulator")],
)
def test_a_container_can_do_nothing_that_it_need_not(file: str, name: str) -> None:
    service = services(file)[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_the_token_is_a_file_and_no_variable() -> None:
    service = services("compose.yaml")["keepalive"]

    assert service["secrets"] == ["cloudflare_token"]
    assert "environment" not in service
    assert (
        'api_token_file = "/run/secrets/cloudflare_token"'
        in (DOCKER / "config" / "keepalive.toml").read_text()
    )


def test_the_real_token_never_reaches_a_commit() -> None:
    assert "/cloudflare.token" in (DOCKER / ".gitignore").read_text().splitlines()


def test_the_port_is_bound_to_loopback() -> None:
    assert services("compose.yaml")["keepalive"]["ports"] == ["127.0.0.1:9786:9786"]


def test_the_drain_fits_into_the_grace() -> None:
    assert int(services("compose.yaml")["keepalive"]["stop_grace_period"].removesuffix("s")) > 5


def test_the_consumer_reaches_the_socket_by_its_group_alone(tmp_path: Path) -> None:
    consumer = services("compose.yaml")["consumer"]

    assert consumer["user"] == "10001:10001"
    assert consumer["group_add"] == ["65532"]
    assert "run:/run/keepalive:ro" in consumer["volumes"]
    assert configuration(tmp_path).settings.control.mode == "0660"


def configuration(scratch: Path) -> Configuration:
    """The configuration of compose.yaml, with a token where the secret would be."""
    token = scratch / "token"
    token.write_text("made-up-token\n", encoding="utf-8")
    text = (DOCKER / "config" / "keepalive.toml").read_text(encoding="utf-8")
    file = scratch / "keepalive.toml"
    file.write_text(text.replace("/run/secrets/cloudflare_token", str(token)), encoding="utf-8")
    return load(file, {}, {"STATE_DIRECTORY": str(scratch), "RUNTIME_DIRECTORY": str(scratch)}, scratch)


def test_the_configuration_has_no_faults_and_keeps_to_the_ports_that_are_shown(tmp_path: Path) -> None:
    found = configuration(tmp_path)

    assert found.warnings == ()
    assert found.settings.http.listen == "0.0.0.0:9786"


def test_the_trial_needs_no_account() -> None:
    trial = services("trial.yaml")

    assert trial["keepalive"]["network_mode"] == "service:emulator"
    assert trial["keepalive"]["ports"] == []
    port = trial["emulator"]["command"][-1]
    assert trial["keepalive"]["environment"] == {
        "KEEPALIVE_CLOUDFLARE__BASE_URL": f"http://127.0.0.1:{port}/client/v4"
    }
    assert (DOCKER / "trial.token").read_text() == "emulated-token\n"


def test_every_file_that_the_compose_files_mount_exists() -> None:
    for service in (*services("compose.yaml").values(), *services("trial.yaml").values()):
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DOCKER / source).exists()
