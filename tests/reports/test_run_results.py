"""What no file about a run may replace, for whoever sends from Python, too."""

from __future__ import annotations

from pathlib import Path

import pytest

import sender
from sender.core.errors import InputError
from sender.plan.plan import Plan
from sender.reports.run_results import own_results_path, protected_files
from sender.state.open import open_state

CAMPAIGN = """\
provider: sandbox
rate: none
from: "+12025550150"
recipients: people.csv
message: {template: offer.j2}
"""


@pytest.fixture
def offer(tmp_path: Path) -> Plan:
    (tmp_path / "offer.yaml").write_text(CAMPAIGN)
    (tmp_path / "offer.j2").write_text("Hi {{ name }}")
    (tmp_path / "people.csv").write_text("name,phone\nAda,+12025550101\n")
    (tmp_path / "letter.csv").write_text("dear Ada\n")
    return sender.build_plan(sender.load_campaign(tmp_path / "offer.yaml"))


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("people.csv", "an input of the campaign"),
        ("offer.yaml", "an input of the campaign"),
        ("offer.j2", "an input of the campaign"),
        ("letter.csv", "exists and is not a results file"),
        ("state/results.csv", "in the state directory"),
    ],
)
def test_results_of_a_call_replace_nothing_else(tmp_path: Path, offer: Plan, path: str, says: str) -> None:
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    with pytest.raises(InputError, match=says) as caught:
        sender.send(offer, state_dir=tmp_path / "state", source=tmp_path / "offer.yaml", results_path=tmp_path / path)
    assert "--force" not in (caught.value.fix or "")
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before
    with open_state(tmp_path / "state") as state:
        assert state.ledger.runs() == []


def test_protected_are_the_inputs_and_the_state_but_for_the_results(tmp_path: Path, offer: Plan) -> None:
    result = sender.send(offer, state_dir=tmp_path / "state", source=tmp_path / "offer.yaml")
    with open_state(tmp_path / "state") as state:
        protected = protected_files(state, result.run)
        own = own_results_path(state, result.run)
    assert {tmp_path / name for name in ("offer.yaml", "offer.j2", "people.csv")} <= set(protected.inputs)
    assert protected.state_dir == tmp_path / "state"
    assert protected.own == (own,)
    assert own == result.results_path
