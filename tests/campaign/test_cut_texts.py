"""Texts that YAML cuts at a comment: a note, or a refusal where nothing is left of the message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sender
from sender.core.errors import CampaignError

BASE = 'provider: sandbox\nfrom: "+12025550100"  # our number\nrate: none  # no limit\n'
ROWS = 'recipients:\n  - phone: "+12025550101"\n    n: Ada\n'


def notes(folder: Path, text: str, **keys: Any) -> tuple[str, ...]:
    file = folder / "c.yaml"
    file.write_text(BASE + text, encoding="utf-8")
    return sender.build_plan(sender.load_campaign(file, **keys)).manifest.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(f"{ROWS}message: Hi {{{{ n }}}} #1 fan\n", ["line 7: YAML takes `#1 fan` behind `Hi {{ n }}`"], id="message"),
        pytest.param(f"{ROWS}message:\n  body: Hi # there\n", ["line 8: YAML takes `# there` behind `Hi`"], id="body"),
        pytest.param(f"{ROWS}message: Hi\nname: Spring #2\n", ["line 8: YAML takes `#2` behind `Spring`"], id="name"),
        pytest.param(f"{ROWS}message: Hi\nedition: no #2\n", ["line 8: YAML takes `#2` behind `no`"], id="edition"),
        pytest.param(f"{ROWS}message: Hi\ncustom_variables:\n  a: x #2\n", ["line 9: YAML takes `#2` behind `x`"], id="a variable"),
        pytest.param(f"{ROWS.rstrip()} #VIP\nmessage: Hi\n", ["line 6: YAML takes `#VIP` behind `Ada`"], id="a cell"),
        pytest.param(
            'recipients:\n  rows:\n    - {phone: "+12025550101", n: x #1\n      }\n'
            '    - {phone: "+12025550102", n: y #2\n      }\nmessage: Hi\n',
            ["line 6: YAML takes `#1` behind `x`"], id="cells, told once",
        ),
        pytest.param(f'{ROWS}message: "Hi {{{{ n }}}} #1 fan"\n', [], id="quoted"),
        pytest.param(f"{ROWS}message: |\n  Hi #1 fan\n", [], id="a block"),
        pytest.param(f"{ROWS}message: Hi  \n# a line of its own\n", [], id="a comment of its own"),
    ],
)  # fmt: skip
def test_what_is_said(text: str, said: list[str], tmp_path: Path) -> None:
    told = notes(tmp_path, text)
    assert len(told) == len(said)
    for note, start in zip(told, said, strict=True):
        assert note.startswith(f"c.yaml, {start} for a comment; put the text in quotes")


def test_a_text_that_an_option_replaces_is_not_told(tmp_path: Path) -> None:
    assert notes(tmp_path, f"{ROWS}message: Hi #1\n", message={"body": "Hello"}) == ()


@pytest.mark.parametrize("text", ["message: #1 fan\n", "message:\n  body: #1 fan\n"])
def test_a_message_that_is_only_a_comment_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CampaignError) as caught:
        notes(tmp_path, ROWS + text)
    assert "`#1 fan` is a comment to YAML, so the text is empty" in str(caught.value)


def test_a_list_of_rows(tmp_path: Path) -> None:
    (tmp_path / "people.yaml").write_text(
        '- phone: "+12025550101"  # quoted\n  n: Ada #VIP\n- phone: "+12025550102"\n  n: Bob #2\n', encoding="utf-8"
    )
    [note] = notes(tmp_path, "recipients: people.yaml\nmessage: Hi\n")
    assert note.startswith("people.yaml, line 2: YAML takes `#VIP` behind `Ada` for a comment")
    assert note.endswith("(1 more cell is like that)")
