"""The providers' own OpenAPI files, as referees. They are not part of this repository (their licences differ).

They are looked for in the folder `SENDER_SPECS`, else in `../shared/specs` next to the repository. A plain checkout has none
and skips with a message; with `SENDER_REQUIRE_SPECS=1`, which `.ci/run` sets in CI, a missing file is a failure.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from openapi_core import Config, OpenAPI

FILES = {
    "signalwire": "signalwire-rest.yaml",
    "signalwire-compat": "signalwire-compat.yaml",
    "telnyx": "telnyx.yaml",
    "twilio": "twilio.yaml",
    "twilio-lookup": "twilio-lookup.yaml",
}
DEFAULT_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "specs"


# Twilio's own format, which openapi-core does not know; its `From` is also a short code or an alphanumeric id.
CONFIG = Config(
    extra_format_unmarshallers={"phone-number": str},
    extra_format_validators={"phone-number": bool},
)


@cache
def _load(path: Path) -> OpenAPI:
    return OpenAPI.from_file_path(str(path), config=CONFIG)


@pytest.fixture(scope="session")
def openapi() -> Callable[[str], OpenAPI]:
    """The OpenAPI file of a dialect."""
    folder = Path(os.environ.get("SENDER_SPECS") or DEFAULT_FOLDER)

    def load(dialect: str) -> OpenAPI:
        path = folder / FILES[dialect]
        if path.is_file():
            return _load(path)
        missing = (
            f"contract tests were not run: there is no {path} (set SENDER_SPECS to the folder with the OpenAPI files)"
        )
        if os.environ.get("SENDER_REQUIRE_SPECS") == "1":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)

    return load
