from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from keepalive.config import load
from keepalive.config.wording import shown
from keepalive.core.target import Target
from keepalive.errors import ConfigError
from tests.support.configured import ACCOUNT_ID, PROD, TARGETS, Folder

CLOUDFLARE = {"CLOUDFLARE_API_TOKEN": "shared-token", "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID}


def sources(folder: Folder, text: str | None = None, environ: dict[str, str] | None = None) -> dict[str, str]:
    return {setting.key: setting.source for setting in folder.read(text, environ).explain()}


class TestFinding:
    def test_a_named_file_must_exist(self, folder: Folder) -> None:
        with pytest.raises(
            ConfigError, match=r"--config: there is no file 'none\.toml'; name a file that exists"
        ):
            load(Path("none.toml"), {}, {}, folder.path)

    def test_a_file_named_by_a_variable_must_exist(self, folder: Folder) -> None:
        assert folder.fault(environ={"KEEPALIVE_CONFIG": "none.toml"}).startswith(
            "$KEEPALIVE_CONFIG: there is no"
        )

    def test_the_nearest_file_is_read(self, folder: Folder) -> None:
        home, named = folder.path / "home", folder.path / "named.toml"
        places = {
            "etc": folder.path / "etc" / "keepalive.toml",
            "home": home / "keepalive" / "keepalive.toml",
            "here": folder.path / "keepalive.toml",
            "named": named,
        }
        for expected, path in places.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PROD + TARGETS)
            path.chmod(0o600)
            environ = {"XDG_CONFIG_HOME": str(home)} | (
                {"KEEPALIVE_CONFIG": str(named)} if expected == "named" else {}
            )
            assert folder.read(environ=environ).path == path

    def test_the_command_line_names_a_file_before_the_variable_does(self, folder: Folder) -> None:
        assert folder.read(PROD + TARGETS, {"KEEPALIVE_CONFIG": "none.toml"}).path == folder.path / "k.toml"

    def test_the_home_folder_has_a_default(self, folder: Folder) -> None:
        file = folder.path / ".config" / "keepalive" / "keepalive.toml"
        file.parent.mkdir(parents=True)
        file.write_text(PROD + TARGETS)
        assert folder.read(environ={"HOME": str(folder.path)}).path == file


class TestPrecedence:
    TEXT = PROD + TARGETS + '[heartbeat]\nwindow = "60s"\n[log]\nlevel = "warning"\n'

    def test_the_file_beats_the_default(self, folder: Folder) -> None:
        assert folder.read(self.TEXT).settings.heartbeat.window == 60

    def test_the_environment_beats_the_file(self, folder: Folder) -> None:
        assert folder.read(self.TEXT, {"KEEPALIVE_HEARTBEAT__WINDOW": "30s"}).settings.heartbeat.window == 30

    def test_the_command_line_beats_the_environment(self, folder: Folder) -> None:
        read = folder.read(self.TEXT, {"KEEPALIVE_LOG__LEVEL": "error"}, {"log.level": "debug"})
        assert read.settings.log.level == "debug"

    def test_each_value_knows_where_it_is_from(self, folder: Folder) -> None:
        found = sources(folder, self.TEXT, {"KEEPALIVE_HEARTBEAT__JITTER": "0.2", "STATE_DIRECTORY": "/s"})
        assert found["heartbeat.window"] == "k.toml:9"
        assert found["heartbeat.jitter"] == "$KEEPALIVE_HEARTBEAT__JITTER"
        assert found["heartbeat.interval"] == "default"
        assert found["state.path"] == "default, from $STATE_DIRECTORY"
        assert found["targets[0].scripts"] == "k.toml:7"

    def test_a_fault_names_the_option_that_made_it(self, folder: Folder) -> None:
        (fault,) = folder.faults(self.TEXT, {}, {"log.level": "loud"})
        assert (
            fault
            == "--log-level: log.level: 'loud' is none of its values; write debug, info, warning or error"
        )

    def test_lists_replace_lists(self, folder: Folder) -> None:
        text = PROD + TARGETS + '[cloudflare]\nlive_tail_hosts = ["a.example", "b.example"]\n'
        read = folder.read(text, {"KEEPALIVE_CLOUDFLARE__LIVE_TAIL_HOSTS": "c.example, d.example"})
        assert read.settings.cloudflare.live_tail_hosts == ("c.example", "d.example")

    def test_a_higher_form_of_a_secret_replaces_all_lower_ones(self, folder: Folder) -> None:
        folder.write("t", "from-the-variable\n")
        read = folder.read(PROD + TARGETS, {"KEEPALIVE_CREDENTIALS__PROD__API_TOKEN_FILE": "t"})
        assert read.credentials["prod"].headers() == {"Authorization": "Bearer from-the-variable"}

    @pytest.mark.parametrize(
        ("heartbeat", "environ", "measured"),
        [
            ('window = "44s"\nwindow_calibrated = true', {}, True),
            ('window = "44s"', {}, False),
            ('window = "44s"', {"KEEPALIVE_HEARTBEAT__WINDOW_CALIBRATED": "true"}, True),
            (
                'window = "44s"\nwindow_calibrated = true',
                {"KEEPALIVE_HEARTBEAT__WINDOW_CALIBRATED": "false"},
                False,
            ),
            ('window = "44s"\nwindow_calibrated = true', {"KEEPALIVE_HEARTBEAT__WINDOW": "50s"}, False),
            ("window_calibrated = true", {"KEEPALIVE_HEARTBEAT__WINDOW": "50s"}, False),
            ("window_calibrated = true", {"KEEPALIVE_LOG__LEVEL": "debug"}, None),
        ],
    )
    def test_a_window_counts_as_measured_only_where_that_is_said_of_it(
        self, folder: Folder, heartbeat: str, environ: dict[str, str], *, measured: bool | None
    ) -> None:
        text = f"{PROD}{TARGETS}[heartbeat]\n{heartbeat}\n"
        if measured is None:
            assert folder.fault(text, environ) == (
                "k.toml:9: heartbeat.window_calibrated: there is no window that was calibrated; "
                'write the measured one beside it, such as window = "44s"; '
                "`keepalive calibrate` prints both"
            )
        else:
            assert folder.read(text, environ).settings.heartbeat.window_calibrated is measured

    def test_the_interval_follows_the_window(self, folder: Folder) -> None:
        assert folder.read(PROD + TARGETS + "[heartbeat]\nwindow = 30").settings.heartbeat.interval == 10


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("KEEPALIVE_HEARTBEAT_INTERVAL", "did you mean `KEEPALIVE_HEARTBEAT__INTERVAL`?"),
            ("KEEPALIVE_HEARTBEAT__INTERVALL", "did you mean `KEEPALIVE_HEARTBEAT__INTERVAL`?"),
            ("KEEPALIVE_CREDENTIALS__P__API_TOKN", "did you mean `KEEPALIVE_CREDENTIALS__P__API_TOKEN`?"),
            ("KEEPALIVE_SCRIPT", "did you mean `KEEPALIVE_SCRIPTS`?"),
            ("KEEPALIVE_INTERVAL", "did you mean `KEEPALIVE_HEARTBEAT__INTERVAL`?"),
            ("KEEPALIVE_TOKEN", "did you mean `KEEPALIVE_CREDENTIALS__NAME__API_TOKEN`?"),
            ("KEEPALIVE_CONFIG_FILE", "did you mean `KEEPALIVE_CONFIG`?"),
            ("KEEPALIVE_XYZZY", "`keepalive config show` lists"),
            ("KEEPALIVE_FOO", "`keepalive config show` lists"),
            ("KEEPALIVE_X__Y__Z", "`keepalive config show` lists"),
            ("KEEPALIVE_HTTP__PORT", "unknown variable; known here: listen"),
            ("KEEPALIVE_CONTROL__FOO", "unknown variable; known here: socket, mode"),
            ("KEEPALIVE_TARGETS__0__ACCOUNT_ID", "KEEPALIVE_SCRIPTS"),
            ("KEEPALIVE_LOG", "such as KEEPALIVE_LOG__FORMAT"),
            ("KEEPALIVE_TARGETS", "KEEPALIVE_SCRIPTS"),
        ],
    )
    def test_an_unknown_one_is_a_fault_with_the_nearest_name(
        self, folder: Folder, name: str, hint: str
    ) -> None:
        fault = folder.fault(PROD + TARGETS, {name: "canary"})
        assert fault.startswith(f"${name}: ")
        assert hint in fault
        assert "canary" not in fault

    def test_a_name_that_would_write_to_the_terminal_is_spelt_out(self, folder: Folder) -> None:
        environ = {"KEEPALIVE_\x1b[2J\n\udcff": "1", "KEEPALIVE_RATE_GROUPS__A\x07__SHARE": "t"}
        unknown, known = folder.faults(PROD + TARGETS, environ)
        assert known.startswith(r"$KEEPALIVE_RATE_GROUPS__A\x07__SHARE: rate_groups.'a\x07'.share: 't' ")
        assert unknown.startswith(r"$KEEPALIVE_\x1b[2J\n\udcff: unknown variable; ")

    @pytest.mark.parametrize(
        "link",
        [
            "KEEPALIVE_SERVICE_HOST=10.0.0.1",
            "KEEPALIVE_SERVICE_PORT=80",
            "KEEPALIVE_SERVICE_PORT_HTTP=80",
            "KEEPALIVE_PORT=tcp://10.0.0.1:80",
            "KEEPALIVE_PORT_80_TCP=tcp://10.0.0.1:80",
            "KEEPALIVE_PORT_80_TCP_PROTO=tcp",
            "KEEPALIVE_METRICS_SERVICE_HOST=10.0.0.1",
            "KEEPALIVE_METRICS_PORT=tcp://10.0.0.1:80",
            "KEEPALIVE_METRICS_PORT_9786_TCP_ADDR=10.0.0.1",
        ],
    )
    def test_service_links_of_kubernetes_are_none_of_ours(self, folder: Folder, link: str) -> None:
        name, _, value = link.partition("=")
        assert folder.read(PROD + TARGETS, {name: value}).plan

    def test_a_misspelt_port_is_no_service_link(self, folder: Folder) -> None:
        assert "unknown variable" in folder.fault(PROD + TARGETS, {"KEEPALIVE_HTTP_PORT": "9786"})

    def test_a_whole_credential_fits_into_variables(self, folder: Folder) -> None:
        environ = {
            "KEEPALIVE_CREDENTIALS__MY__USER__API_KEY": "k",
            "KEEPALIVE_CREDENTIALS__MY__USER__EMAIL": "ops@example.com",
            "KEEPALIVE_RATE_GROUPS__DEFAULT__REQUESTS": "10000000",
        }
        read = folder.read(TARGETS, environ)
        assert read.credentials["my__user"].headers() == {
            "X-Auth-Email": "ops@example.com",
            "X-Auth-Key": "k",
        }
        assert read.plan["default"].quota.requests == 10_000_000

    @pytest.mark.parametrize("text", ["abc", "1.5", "-1", "0"])
    def test_a_number_that_is_none_is_a_fault(self, folder: Folder, text: str) -> None:
        name = "KEEPALIVE_RATE_GROUPS__DEFAULT__REQUESTS"
        assert folder.fault(PROD + TARGETS, {name: text}).startswith(
            f"${name}: rate_groups.default.requests: "
        )

    @pytest.mark.parametrize("text", ["yes", "1", "", "True"])
    def test_a_truth_that_is_none_is_a_fault(self, folder: Folder, text: str) -> None:
        name = "KEEPALIVE_HEARTBEAT__WINDOW_CALIBRATED"
        assert folder.fault(PROD + TARGETS, {name: text}).endswith("does not fit; write true or false")


class TestWithoutAFile:
    def test_the_whole_account_is_meant_without_scripts(self, folder: Folder) -> None:
        read = folder.read(environ=CLOUDFLARE)
        assert read.plan["default"].targets == (Target("default", ACCOUNT_ID),)
        assert read.credentials["default"].headers() == {"Authorization": "Bearer shared-token"}
        assert read.path is None

    def test_scripts_are_separated_by_commas(self, folder: Folder) -> None:
        read = folder.read(environ=CLOUDFLARE | {"KEEPALIVE_SCRIPTS": "api, web"})
        assert [target.script_id for target in read.plan["default"].targets] == ["api", "web"]

    @pytest.mark.parametrize("scripts", ["", " "])
    def test_empty_scripts_are_a_fault(self, folder: Folder, scripts: str) -> None:
        fault = folder.fault(environ=CLOUDFLARE | {"KEEPALIVE_SCRIPTS": scripts})
        assert fault.startswith("$KEEPALIVE_SCRIPTS: is empty; ")

    def test_a_hole_between_commas_is_a_fault(self, folder: Folder) -> None:
        fault = folder.fault(environ=CLOUDFLARE | {"KEEPALIVE_SCRIPTS": "api,,web"})
        assert fault.startswith("$KEEPALIVE_SCRIPTS: targets[0].scripts[1]: a script name is empty; ")

    def test_scripts_need_an_account(self, folder: Folder) -> None:
        fault = folder.fault(environ={"CLOUDFLARE_API_TOKEN": "t", "KEEPALIVE_SCRIPTS": "api"})
        assert fault.startswith(
            "$KEEPALIVE_SCRIPTS: scripts without an account; set CLOUDFLARE_ACCOUNT_ID too"
        )

    @pytest.mark.parametrize(
        ("environ", "headers"),
        [
            ({"CLOUDFLARE_API_TOKEN": "t"}, {"Authorization": "Bearer t"}),
            ({"CLOUDFLARE_API_TOKEN_FILE": "s"}, {"Authorization": "Bearer in-a-file"}),
            (
                {"CLOUDFLARE_API_KEY": "k", "CLOUDFLARE_EMAIL": "e@x"},
                {"X-Auth-Email": "e@x", "X-Auth-Key": "k"},
            ),
            (
                {"CLOUDFLARE_API_KEY_FILE": "s", "CLOUDFLARE_EMAIL": "e@x"},
                {"X-Auth-Email": "e@x", "X-Auth-Key": "in-a-file"},
            ),
            ({"CLOUDFLARE_API_USER_SERVICE_KEY": "v1.0-k"}, {"X-Auth-User-Service-Key": "v1.0-k"}),
            ({"CLOUDFLARE_API_USER_SERVICE_KEY_FILE": "s"}, {"X-Auth-User-Service-Key": "in-a-file"}),
            ({"CLOUDFLARE_API_TOKEN": "t", "CLOUDFLARE_EMAIL": "e@x"}, {"Authorization": "Bearer t"}),
            ({"CLOUDFLARE_API_TOKEN": "t", "CLOUDFLARE_API_KEY": ""}, {"Authorization": "Bearer t"}),
        ],
    )
    def test_every_scheme_is_understood(
        self, folder: Folder, environ: dict[str, str], headers: dict[str, str]
    ) -> None:
        folder.write("s", "in-a-file\n")
        read = folder.read(environ={"CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID, **environ})
        assert read.credentials["default"].headers() == headers

    def test_two_schemes_at_once_are_a_fault(self, folder: Folder) -> None:
        environ = CLOUDFLARE | {"CLOUDFLARE_API_KEY": "canary", "CLOUDFLARE_EMAIL": "e@x"}
        fault = folder.fault(environ=environ)
        assert fault.startswith("$CLOUDFLARE_API_TOKEN: credentials.default.api_token: two schemes at once")

    def test_a_key_without_its_address_is_a_fault(self, folder: Folder) -> None:
        fault = folder.fault(environ={"CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID, "CLOUDFLARE_API_KEY": "k"})
        assert "without its e-mail address; add `email`, or set CLOUDFLARE_EMAIL" in fault

    def test_both_names_of_the_address_are_understood(self, folder: Folder) -> None:
        for name in ("CLOUDFLARE_BASE_URL", "CLOUDFLARE_API_BASE_URL"):
            read = folder.read(environ=CLOUDFLARE | {name: "http://127.0.0.1:8080/client/v4/"})
            assert read.settings.cloudflare.base_url == "http://127.0.0.1:8080/client/v4"

    def test_two_addresses_that_differ_are_a_fault(self, folder: Folder) -> None:
        environ = CLOUDFLARE | {"CLOUDFLARE_BASE_URL": "https://a", "CLOUDFLARE_API_BASE_URL": "https://b"}
        assert "names another address" in folder.fault(environ=environ)

    def test_shared_credentials_count_only_where_no_file_has_any(self, folder: Folder) -> None:
        read = folder.read(PROD + TARGETS, CLOUDFLARE)
        assert list(read.credentials) == ["prod"]
        read = folder.read(TARGETS, CLOUDFLARE)
        assert list(read.credentials) == ["default"]

    def test_the_shared_account_does_not_join_the_targets_of_a_file(self, folder: Folder) -> None:
        assert len(folder.read(PROD + TARGETS, CLOUDFLARE).plan["default"].targets) == 2

    def test_nothing_at_all_says_where_to_begin(self, folder: Folder) -> None:
        assert folder.fault() == (
            "the environment: nothing to keep alive: there is no configuration, no file and no variables; "
            "`keepalive init` writes a file, or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID"
        )

    def test_an_account_without_a_token_is_told_what_is_missing(self, folder: Folder) -> None:
        fault = folder.fault(environ={"CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID})
        assert fault.startswith("the environment: credentials: no credential to speak with; ")


class TestSurroundings:
    @pytest.mark.parametrize(
        ("environ", "path"),
        [
            ({"STATE_DIRECTORY": "/var/lib/keepalive:/other", "HOME": "/h"}, "/var/lib/keepalive/state.db"),
            ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/keepalive/state.db"),
            ({"HOME": "/h"}, "/h/.local/state/keepalive/state.db"),
            ({}, ""),
        ],
    )
    def test_the_state_file_has_a_place_of_its_own(
        self, folder: Folder, environ: dict[str, str], path: str
    ) -> None:
        assert folder.read(PROD + TARGETS, environ).settings.state.path == path

    def test_the_state_can_be_turned_off(self, folder: Folder) -> None:
        assert folder.read(PROD + TARGETS + '[state]\npath = ""', {"HOME": "/h"}).settings.state.path == ""

    @pytest.mark.parametrize(
        ("environ", "socket"),
        [
            (
                {"RUNTIME_DIRECTORY": "/run/keepalive:/x", "XDG_RUNTIME_DIR": "/r"},
                "/run/keepalive/keepalive.sock",
            ),
            ({"XDG_RUNTIME_DIR": "/r"}, "/r/keepalive.sock"),
            ({}, ""),
        ],
    )
    def test_the_socket_is_where_the_runtime_is(
        self, folder: Folder, environ: dict[str, str], socket: str
    ) -> None:
        assert folder.read(PROD + TARGETS, environ).settings.control.socket == socket

    def test_paths_are_relative_to_the_file(self, folder: Folder) -> None:
        (folder.path / "sub").mkdir()
        folder.write("sub/t", "token")
        folder.write(
            "sub/k.toml", '[credentials.p]\napi_token_file = "t"\n[state]\npath = "s.db"\n' + TARGETS
        )
        read = load(Path("sub/k.toml"), {}, {}, folder.path)
        assert tuple(read.secret_files) == (folder.path / "sub" / "t",)
        assert read.settings.state.path == str(folder.path / "sub" / "s.db")


class TestTrust:
    @pytest.mark.parametrize(
        "line",
        [
            'base_url = "https://evil.example/client/v4"',
            'base_url = "https://api.cloudflare.com.evil.example/"',
            'base_url = "https://api.cloudflare.com:8443/"',
            'ca_file = "ca.pem"',
            'live_tail_hosts = ["evil.example"]',
        ],
    )
    def test_a_file_that_nobody_named_decides_nothing_about_trust(self, folder: Folder, line: str) -> None:
        folder.write("ca.pem", trustme.CA().cert_pem.bytes())
        text = PROD + TARGETS + f"[cloudflare]\n{line}\n"
        folder.write("keepalive.toml", text)
        fault = folder.fault()
        assert fault.startswith(f"keepalive.toml:9: cloudflare.{line.partition(' ')[0]}: ")
        assert fault.endswith("this file was found, not named; name the file with --config if you trust it")
        assert load(Path("keepalive.toml"), {}, {}, folder.path).plan

    @pytest.mark.parametrize(
        "line",
        [
            'base_url = "https://api.cloudflare.com/client/v4"',
            'base_url = "http://127.0.0.1:8080"',
            'base_url = "http://[::1]:8080"',
            'base_url = "http://localhost/client/v4"',
            'ca_file = ""',
            "live_tail_hosts = []",
        ],
    )
    def test_what_harms_nobody_is_accepted_from_it(self, folder: Folder, line: str) -> None:
        folder.write("keepalive.toml", PROD + TARGETS + f"[cloudflare]\n{line}\n")
        assert folder.read().plan

    def test_a_literal_secret_that_others_can_read_is_a_warning_with_the_fix(self, folder: Folder) -> None:
        file = folder.write("keepalive.toml", PROD + TARGETS, 0o644)
        (warning,) = folder.read().warnings
        assert str(warning).startswith("keepalive.toml:3: credentials.prod.api_token: a literal secret")
        assert "`chmod 600 keepalive.toml`" in warning.hint
        file.chmod(0o640)
        assert folder.read().warnings == ()


def test_an_unreadable_file_is_a_fault(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("keepalive.toml", PROD)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)  # root, who may run this, reads everything
    assert folder.fault().startswith("keepalive.toml: the configuration may not be read by this user; ")


@pytest.mark.parametrize(
    ("cwd", "said"),
    [("/", "/etc/keepalive/k.toml"), ("/etc", "keepalive/k.toml"), ("/srv", "/etc/keepalive/k.toml")],
)
def test_a_path_is_short_below_the_working_directory_and_whole_below_the_root(cwd: str, said: str) -> None:
    assert shown(Path("/etc/keepalive/k.toml"), Path(cwd)) == said
