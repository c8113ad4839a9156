"""Which column has the phone numbers: what is taken, what is refused with cells of both, what is proposed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sender.campaign.load import load_campaign
from sender.core.errors import CampaignError, RecipientsError
from sender.recipients.columns import Recipients, load_recipients

A, B, C = "+12025550101", "+12025550102", "+12025550103"
TEN = "\n".join(f"Name {n},(202) 555-01{n:02},{n}" for n in range(10))


def read(tmp_path: Path, content: str, **spec) -> Recipients:
    (tmp_path / "people.csv").write_text(content, encoding="utf-8")
    spec = {"file": "people.csv", "default_region": "US", **spec}
    return load_recipients(load_campaign(name="t", provider="sandbox", recipients=spec, base=tmp_path))


@pytest.mark.parametrize(
    ("content", "phone"),
    [
        pytest.param(f"Name,Mobile #\nAnn,{A}\n", "Mobile #", id="words"),
        pytest.param(f"Phone,Fax,Landline\n{A},{B},{C}\n", "Phone", id="a fax and a landline take no texts"),
        pytest.param(f"Handy,Festnetz\n{A},{B}\n", "Handy", id="nor does a Festnetz"),
        pytest.param(f"Phone,AssistantPhone\n{A},{B}\n", "Phone", id="another person's number"),
        pytest.param(f"Phone,Phone Type,Phone Country Code\n{A},Mobile,US\n", "Phone", id="what is said of the number"),
        pytest.param(f"Street,Number,Phone\nMain St,12,{A}\n", "Phone", id="a house number"),
        pytest.param(f"Phone,Contact Number\n{A},C-0001\n", "Phone", id="the number of a record"),
        pytest.param(f"Number\n{A}\n", "Number", id="a number that is one of a phone"),
        pytest.param(f"Contact Number\n{A}\nn/a\n{B}\n", "Contact Number", id="most cells agree"),
        pytest.param(f"Phone,MobilePhone\n{A},\n{B},\n", "Phone", id="a column without content"),
        pytest.param(f"Work Phone\n{A}\n", "Work Phone", id="the only one, whatever it is"),
    ],
)  # fmt: skip
def test_the_column_by_its_header(tmp_path, content, phone):
    assert read(tmp_path, content).phones == (phone,)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(
            f"Phone,MobilePhone\n(202) 555-0147,{A}\n",
            ["2 columns match: `Phone`, `MobilePhone`", "`Phone` has `(202) 555-0147`", f"`MobilePhone` has `{A}`",
             "recipients.phone_column: [MobilePhone, Phone]"],
            id="mobile and office",
        ),
        pytest.param(f"Phone,Phone 2\n{A},{B}\n", ["`Phone`, `Phone 2`", f"`Phone 2` has `{B}`"], id="a second one"),
        pytest.param(f"Phone 1 - Value,Phone 2 - Value\n{A},{B}\n", ["2 columns match"], id="an address book"),
        pytest.param(f"Phone,Number\n{A},{B}\n", ["2 columns match", f"`Number` has `{B}`"], id="two that are numbers"),
        pytest.param(f"Phone,Phone (checked)\n{A},{B}\n", ["2 columns match"], id="a word that is not known"),
        pytest.param(f"Phone,Mobile,Tel.\n{A},{B},{C}\n", ["3 columns match"], id="three"),
        pytest.param("Phone,Mobile\n,\nx,y\n", ["`Phone` has `x`"], id="neither has numbers"),
        pytest.param("Phone,Mobile,Name\n,,Ann\n", ["only blank cells"], id="both blank"),
        pytest.param(f"Name,Phones,Cell phone\nAnn,{A} {'9' * 60},x\n", ["…`"], id="long cells are cut"),
    ],
)  # fmt: skip
def test_two_columns_are_refused_with_cells_of_both(tmp_path, content, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content)
    assert caught.value.exit_code == 2
    for part in says:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(f"Name,Reach at,n\n{TEN}\n", ["did you mean `Reach at` (100% of its cells are phone numbers)?"], id="by content"),
        pytest.param(f"Name,Landline,n\n{TEN}\n", ["did you mean `Landline` (100%"], id="only when told"),
        pytest.param(f"Name,Emergency Phone,n\n{TEN}\n", ["did you mean `Emergency Phone`"], id="another person's"),
        pytest.param(f"Name,WhatsApp,n\n{TEN}\nx,y,1\nx,y,2\n", ["did you mean `WhatsApp` (83%"], id="most cells"),
        pytest.param("Name,Number\nAnn,12\nBob,14\n", ["set `recipients.phone_column`", "`Name`, `Number`"], id="a house number"),
        pytest.param("Name,Born\nAnn,1980-05-02\nBob,02.05.1980\n", ["headers here: `Name`, `Born`"], id="dates"),
        pytest.param("My list,,\nas of May,,\nPhone,Name,City\n+12025550101,Ann,Rome\n", ["row 3 looks like the header (`Phone`, `Name`, `City`)", "recipients.header_row: 3"], id="two rows of title above one person"),
        pytest.param("Report,,\n,,\nName,Phone,City\nAnn,(202) 555-0101,Rome\n", ["row 3 looks like the header (`Name`, `Phone`, `City`)", "recipients.header_row: 3"], id="a title above"),
        pytest.param("Name,Channel\nAnn,Phone\nBob,Mail\n", ["headers here"], id="a word in a cell is no header"),
    ],
)  # fmt: skip
def test_where_no_header_is_one_the_cells_propose(tmp_path, content, says):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, content)
    assert "there is no column for the phone number" in str(caught.value)
    for part in says:
        assert part in str(caught.value)


def test_a_fax_is_never_proposed(tmp_path):
    with pytest.raises(RecipientsError) as caught:
        read(tmp_path, f"Name,Fax,n\n{TEN}\n")
    assert "did you mean" not in str(caught.value)


def test_without_a_region_the_look_of_the_cells_proposes(tmp_path):
    with pytest.raises(RecipientsError, match="did you mean `Reach at`"):
        read(tmp_path, f"Name,Reach at,n\n{TEN}\n", default_region=None)


@pytest.mark.parametrize(
    ("chosen", "phones"),
    [
        ("MobilePhone", ("MobilePhone",)),
        (["MobilePhone", "Phone"], ("MobilePhone", "Phone")),
        (["mobile phone", "PHONE", "MobilePhone"], ("MobilePhone", "Phone")),
        ("MobilePhone, Phone", ("MobilePhone", "Phone")),
    ],
)
def test_the_campaign_names_columns(tmp_path, chosen, phones):
    assert read(tmp_path, f"Phone,MobilePhone\n{A},{B}\n", phone_column=chosen).phones == phones


def test_a_header_with_a_comma_is_one_header(tmp_path):
    assert read(tmp_path, f'"Phone, Mobile",Phone\n{A},{B}\n', phone_column="Phone, Mobile").phones == (
        "Phone, Mobile",
    )


def test_a_chain_with_a_column_that_is_not_there(tmp_path):
    with pytest.raises(RecipientsError, match=r"names a column `Mobil`.*\n.*did you mean `Mobile`"):
        read(tmp_path, f"Phone,Mobile\n{A},{B}\n", phone_column=["Mobil", "Phone"])
    with pytest.raises(CampaignError, match="phone_column"):
        read(tmp_path, f"Phone,Mobile\n{A},{B}\n", phone_column={"a": 1})


def test_a_column_without_content_is_named(tmp_path):
    notes = read(tmp_path, f"Phone,MobilePhone\n{A},\n").notes
    assert notes == ("`Phone` has the phone numbers; `MobilePhone` is blank in every row",)
