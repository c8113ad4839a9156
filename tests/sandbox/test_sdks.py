"""Official clients against the sandbox: what they send is understood, and what they get they can read.

Each is installed by its name and version, from its registry, into a folder of this run, and runs in a process of its own
(`sdks/`), as its documentation shows it; only the address is another. Without registry, Node or npm the tests are skipped
with a sentence; with `SENDER_REQUIRE_SDKS=1`, which `.ci/run` sets in CI, they fail.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sender.delivery.webhooks.signatures import form_signature
from sender.sandbox import Options, embedded

SCRIPTS = Path(__file__).with_name("sdks")
DOCUMENT = Path(__file__).parents[2] / "docs" / "sandbox.md"
INSTALL_TIMEOUT_S = 240


@dataclass(frozen=True)
class Sdk:
    """One client: its registry, its package, the version that is installed, its script and the script's cases."""

    registry: str
    package: str
    version: str
    script: str
    cases: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.package} ({self.registry})"


COMMON = ("create and fetch", "list filters", "pages", "media", "errors", "auth", "too many requests")
TWILIO = (*COMMON, "schedule and cancel", "messaging service", "lookups", "signatures of ours")
TELNYX = (*COMMON, "schedule and cancel", "number pool", "encodings")
LOOKUPS = ("lookups",)
SDKS = [
    Sdk("PyPI", "twilio", "9.13.0", "twilio_client.py", TWILIO),
    Sdk("PyPI", "telnyx", "4.189.0", "telnyx_client.py", (*TELNYX, "opt outs", *LOOKUPS)),
    Sdk("PyPI", "signalwire-sdk", "3.7.5", "signalwire_native.py", (*COMMON, *LOOKUPS)),
    Sdk("PyPI", "signalwire", "2.1.1", "signalwire_compat.py", (*COMMON, "number group")),
    Sdk("npm", "twilio", "6.3.1", "twilio_client.cjs", TWILIO),
    Sdk("npm", "telnyx", "7.24.0", "telnyx_client.cjs", (*TELNYX, *LOOKUPS)),
    Sdk("npm", "@signalwire/compatibility-api", "3.2.0", "signalwire_compat.cjs", (*COMMON, "number group")),
]
# `signalwire` needs a twilio of its own (6.54.0).
FOLDERS = {
    sdk.name: "npm" if sdk.registry == "npm" else "old" if sdk.package == "signalwire" else "pypi" for sdk in SDKS
}


class Installer:
    """Installs the clients of a folder when the first of them is asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._failures: dict[str, str | None] = {}

    def folder(self, sdk: Sdk) -> Path:
        """The folder with the client. Skips, or fails, when it cannot be had."""
        name = FOLDERS[sdk.name]
        folder = self._root / name
        if name not in self._failures:
            folder.mkdir()
            packages = [
                f"{one.package}{'@' if one.registry == 'npm' else '=='}{one.version}"
                for one in SDKS
                if FOLDERS[one.name] == name
            ]
            self._failures[name] = _install(sdk.registry, packages, folder)
        if (failure := self._failures[name]) is not None:
            sentence = f"official clients were not run: {failure}"
            if os.environ.get("SENDER_REQUIRE_SDKS") == "1":
                pytest.fail(sentence)
            pytest.skip(sentence)
        return folder


def _install(registry: str, packages: list[str], folder: Path) -> str | None:
    """Install; return why it failed, or None."""
    if registry == "npm":
        tool = shutil.which("npm")
        if tool is None or shutil.which("node") is None:
            return "node and npm are not here"
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000")
        command = [tool, "install", "--prefix", str(folder), *quiet, *packages]
    elif importlib.util.find_spec("uv") is not None:
        command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--target", str(folder), *packages]
    else:
        quiet = ("-q", "--disable-pip-version-check", "--no-warn-conflicts", "--retries", "1", "--timeout", "20")
        command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(folder), *packages]
    # The constraints of our own packages say nothing of theirs.
    environment = {name: value for name, value in os.environ.items() if name not in {"PIP_CONSTRAINT", "UV_CONSTRAINT"}}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{registry} did not answer within {INSTALL_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
    return f"{registry}: {next((line for line in said if 'error' in line.lower()), said[-1])}"


@pytest.fixture(scope="module")
def installer(tmp_path_factory: pytest.TempPathFactory) -> Installer:
    return Installer(tmp_path_factory.mktemp("sdks"))


def signatures() -> str:
    """Requests as our receiver believes them: key, URL, fields, algorithm and signature, as JSON."""
    url, form = "https://hooks.example.com/inbound/twilio", {"Body": "STOP", "From": "+12025550101"}
    rows = [
        ("12345", url, form, "HMAC_SHA1"),
        ("shared", url, form, "HMAC_SHA256"),
        ("shared", f"{url}/", form, "HMAC_SHA256"),
        ("12345", f"{url}?From=%2B12025550101&Body=don't", {}, "HMAC_SHA1"),
    ]
    return json.dumps(
        [
            (*row, form_signature(row[0], row[1], list(row[2].items()), distinct=True, digest=row[3][5:].lower()))
            for row in rows
        ]
    )


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name)
def test_an_official_client_works_with_the_sandbox(sdk: Sdk, installer: Installer) -> None:
    folder = installer.folder(sdk)
    runs = ["node"] if sdk.registry == "npm" else [sys.executable, "-W", "ignore"]
    paths = os.pathsep.join([str(folder), str(SCRIPTS)])
    environment = {**os.environ, "PYTHONPATH": paths, "SIGNATURES": signatures(), "NO_PROXY": "127.0.0.1"}
    with embedded(Options(sent_after_s=0, delivered_after_s=0)) as url:
        command = [*runs, str(SCRIPTS / sdk.script), url, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    failed = {case: trace for case, trace in told["cases"].items() if trace != "passed"}
    assert not failed, "\n".join(f"{case}: {trace}" for case, trace in failed.items())
    assert tuple(told["cases"]) == sdk.cases
    assert told["version"].split()[0] == sdk.version


def test_the_table_of_clients_in_the_documents_is_this_one() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \((PyPI|npm)\) \| (.+?) \| (\d+) \| (\d+) \|", text, flags=re.MULTILINE)
    assert rows == [(sdk.package, sdk.registry, sdk.version, str(len(sdk.cases)), str(len(sdk.cases))) for sdk in SDKS]
