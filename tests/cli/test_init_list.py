"""`sender init people.csv`: a campaign for the list that is there."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.cli.conftest import Shell

ROWS = [
    {"First Name": "Ada", "Mobile": "+12025550101", "City/Town": "London"},
    {"First Name": "", "Mobile": "(202) 555-0102", "City/Town": "Paris"},
    {"First Name": "Bob", "Mobile": "555-01", "City/Town": "X"},
]


def write(folder: Path, kind: str) -> None:
    frame, file = pl.DataFrame(ROWS), folder / f"people.{kind}"
    match kind:
        case "csv":
            frame.write_csv(file)
        case "tsv":
            frame.write_csv(file, separator="\t")
        case "xlsx":
            frame.write_excel(file)
        case "parquet":
            frame.write_parquet(file)
        case "jsonl":
            frame.write_ndjson(file)
        case _:
            file.write_text(yaml.safe_dump(ROWS, sort_keys=False), encoding="utf-8")


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "parquet", "jsonl", "yaml"])
def test_it_writes_a_campaign_that_sends_the_list(sender: Shell, kind: str) -> None:
    write(sender.folder, kind)
    name = "people-campaign.yaml" if kind == "yaml" else "people.yaml"
    done = sender("init", f"people.{kind}", "--default-region", "US")
    assert done.code == 0, done
    assert f"wrote {name}: 3 rows, 2 messages, 1 skipped" in done.out
    text = (sender.folder / name).read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    assert written["recipients"] == {"file": f"people.{kind}", "phone_column": "Mobile", "default_region": "US"}
    assert '{{ first_name | default("there") }}' in written["message"]["body"]
    assert "# Fields of the list: {{ first_name }}, {{ city_town }}" in text
    sent = sender("send", name, "--yes")
    assert "3 rows = 1 skipped + 2 accepted" in sent.out, sent


def test_it_overwrites_nothing(sender: Shell) -> None:
    write(sender.folder, "csv")
    (sender.folder / "people.yaml").write_text("mine", encoding="utf-8")
    done = sender("init", "people.csv")
    assert done.code == 2
    assert "people.yaml already exists" in done.err
    assert (sender.folder / "people.yaml").read_text(encoding="utf-8") == "mine"


def test_numbers_without_a_country_are_not_given_one(sender: Shell) -> None:
    write(sender.folder, "csv")
    done = sender("init", "people.csv")
    assert done.code == 0, done
    assert "numbers without a country code need `default_region`" in done.out
    text = (sender.folder / "people.yaml").read_text(encoding="utf-8")
    assert "default_region" not in yaml.safe_load(text)["recipients"]
    assert "# default_region: US" in text


@pytest.mark.parametrize(
    ("header", "row", "key"),
    [
        pytest.param("name", "ADA LOVELACE", "{{ name | first_name | default(", id="a full name"),
        pytest.param("Vorname", "Ada", "{{ vorname | default(", id="another language"),
        pytest.param("x", "y", "Hi there", id="no name"),
        pytest.param("body", "Your own text", None, id="a text in each row"),
    ],
)
def test_the_text_greets_by_what_the_list_has(sender: Shell, header: str, row: str, key: str | None) -> None:
    sender.write("people.csv", f"phone,{header}\n+12025550101,{row}\n")
    assert sender("init", "people.csv").code == 0
    written = yaml.safe_load((sender.folder / "people.yaml").read_text(encoding="utf-8"))
    if key is None:
        assert "message" not in written
    else:
        assert key in written["message"]["body"]
    assert sender("preview", "people.yaml").code == 0


@pytest.mark.parametrize(
    "header", ["no: `:` #1", "- x", "{{ a }}", "=1+1", '"quoted"', "yes", "Ünï çôdé", "a\\b", "x: [y", "'", "\u202ex"]
)
def test_any_header_makes_valid_yaml(sender: Shell, header: str) -> None:
    pl.DataFrame({"phone": ["+12025550101"], header: ["x"]}).write_csv(sender.folder / "people.csv")
    assert sender("init", "people.csv").code == 0
    done = sender("preview", "people.yaml")
    assert done.code == 0, done


def test_any_number_column_makes_valid_yaml(sender: Shell) -> None:
    sender.write("people.csv", '"#: my ""cell""",name\n+12025550101,Ada\n')
    done = sender("init", "people.csv", "--phone-column", '#: my "cell"')
    assert done.code == 0, done
    assert sender("preview", "people.yaml").code == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["none.csv"], "there is no such file", id="missing"),
        pytest.param(["c.yaml"], "this is a campaign, not a list", id="a campaign"),
        pytest.param(["letters.csv"], "no column for the phone number", id="no number"),
        pytest.param(["folder", "--sheet", "x"], "are about a list", id="options without a list"),
        pytest.param(["people.csv", "--state-only"], "--state-only creates a state directory", id="state only"),
        pytest.param(["people.csv", "--phone-column", "Tel"], "names a column `Tel`", id="no such column"),
        pytest.param(["people.csv", "--default-region", "Atlantis"], "is not a country name", id="no such country"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(sender: Shell, args: list[str], says: str) -> None:
    write(sender.folder, "csv")
    sender.write("c.yaml", "provider: sandbox\nrecipients: people.csv\nmessage: Hi\n")
    sender.write("letters.csv", "A,B\nx,y\n")
    before = sorted(path.name for path in sender.folder.iterdir())
    done = sender("init", *args)
    assert done.code == 2, done
    assert says in done.err
    assert sorted(path.name for path in sender.folder.iterdir()) == before


def test_what_the_folder_says_is_left_out(sender: Shell) -> None:
    write(sender.folder, "csv")
    sender.write("sender.toml", 'provider = "sandbox"\nfrom = "+12025550155"\ndefault_region = "US"\n')
    assert sender("init", "people.csv").code == 0
    written = yaml.safe_load((sender.folder / "people.yaml").read_text(encoding="utf-8"))
    assert written.keys() == {"recipients", "message", "dedupe"}
    assert "from +12025550155" in sender("preview", "people.yaml").out


def test_a_list_in_another_folder_has_its_campaign_there(sender: Shell) -> None:
    (sender.folder / "lists").mkdir()
    write(sender.folder / "lists", "csv")
    assert sender("init", "lists/people.csv", "--default-region", "US").code == 0
    assert sender("preview", "lists/people.yaml").code == 0
    assert not (sender.folder / "people.yaml").exists()
