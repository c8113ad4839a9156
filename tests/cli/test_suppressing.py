"""`sender suppress`, and what it changes for `plan`."""

from __future__ import annotations

from tests.cli.conftest import Shell

ADA, BOB = "+12025550101", "+12025550102"
OFFER = ("--body", "Hi", "--from", "+12025550150", "--provider", "sandbox")


def test_a_number_is_put_on_the_list_told_and_taken_off(sender: Shell) -> None:
    sender.make_state()
    done = sender("suppress", "add", "202-555-0101", BOB, "--default-region", "US", "--note", "by [phone]")
    assert (done.code, done.out) == (0, "2 numbers added, 0 already on the list\n"), done
    why = sender("suppress", "why", ADA)
    assert why.out.startswith(f"{ADA} suppressed: put on the suppression list by hand (by [phone]) on 20"), why
    sender.write("people.csv", f"phone\n{ADA}\n+12025550103\n")
    planned = sender("plan", "people.csv", *OFFER, "--json")
    assert planned.json["skipped"] == {"suppressed": 1}, planned
    removed = sender("suppress", "remove", ADA, "+12025550109")
    assert removed.out.startswith("1 number removed, 1 not on the list"), removed
    assert sender("suppress", "why", ADA, "--json").json["listed"] is False
    assert sender("plan", "people.csv", *OFFER, "--json").json["skipped"] == {}


def test_files_in_and_out(sender: Shell) -> None:
    sender.make_state()
    sender.write("old.csv", f"name,phone\nAda,{ADA}\nBob,{BOB}\nEve,n/a\n")
    done = sender("suppress", "import", "old.csv", "--reason", "opted_out", "--scope", "campaign:people")
    assert done.code == 0, done
    assert "old.csv: 2 numbers, 2 new" in done.out
    assert "1 row without a number" in done.out
    assert sender("suppress", "list").out.startswith("2 numbers (2 opted_out)")
    assert sender("suppress", "export", "list.csv").code == 0
    sender.make_state("--state", "elsewhere")
    moved = sender("suppress", "import", "list.csv", "--state-dir", "elsewhere")
    assert moved.out == "list.csv: 2 entries, 2 new\n", moved
    assert sender("suppress", "export", "--state-dir", "elsewhere").out == sender("suppress", "export").out


def test_entries_of_people_who_were_erased_stay_where_they_are(sender: Shell) -> None:
    """No other state could tell who they are, and one that had taken them over refused every plan."""
    sender.make_state()
    sender.make_state("--state", "elsewhere")
    sender("suppress", "add", ADA, BOB)
    assert sender("forget", ADA, "--yes").code == 0
    told = "1 entry of people who were erased cannot be copied"
    exported = sender("suppress", "export")
    assert (exported.code, exported.out.count("\n"), BOB in exported.out) == (0, 2, True)
    assert told in " ".join(exported.err.split())
    older = exported.out.replace(BOB, "#00112233445566ff")  # as programs up to version 0.1.0 wrote it
    sender.write("older.csv", older)
    sender.write("people.csv", f"phone\n{ADA}\n{BOB}\n")
    for name, known in (("older.csv", 0), (".sender", 1)):
        done = sender("suppress", "import", name, "--state-dir", "elsewhere")
        assert done.code == 0, done
        assert f"{'1 entry' if known else '0 entries'}, {known} new" in done.out
        assert told in " ".join(done.out.split())
    planned = sender("plan", "people.csv", *OFFER, "--json", "--state-dir", "elsewhere")
    assert (planned.code, planned.json["skipped"]) == (0, {"suppressed": 1}), planned


def test_bad_usage_is_told(sender: Shell) -> None:
    sender.make_state()
    for args, sentence in (
        (("add", "hello"), "has letters"),
        (("add", ADA, "--scope", "everywhere"), "is not a scope"),
        (("import",), "name files or --from telnyx, and not both"),
        (("import", "--from", "telnyx"), "TELNYX_API_KEY"),
        (("import", ".", "--since", "2026-11-01"), "--profile and --since go with --from"),
        (("export", "list.docx"), "is not a format"),
    ):
        done = sender("suppress", *args)
        assert (done.code, sentence in done.err) == (2, True), done
    assert sender("suppress", "list").out == "0 numbers\n"


def test_an_import_lists_the_rows_that_are_not_on_the_list(sender: Shell) -> None:
    sender.make_state()
    sender.write("crm.csv", f"Name,Phone,MobilePhone\nAda,{ADA},\nBob,,{BOB}\nCy,555-0101,\nDan,,\n")
    done = sender("suppress", "import", "crm.csv", "--default-region", "US")
    assert done.code == 1, done
    assert "crm.csv: 2 numbers, 2 new" in done.out
    assert "1 row without a number" in done.out
    assert "row 4, `Phone`: `555-0101` lacks its area code in US" in done.out
    assert sender("suppress", "list").out.startswith("2 numbers")
    allowed = sender("suppress", "import", "crm.csv", "--default-region", "US", "--unreadable", "1")
    assert (allowed.code, "2 numbers, 0 new" in allowed.out) == (0, True), allowed
    assert sender("suppress", "import", "crm.csv", "--column", "MobilePhone").code == 0
    sender.write("mails.csv", "name,email\nAda,ada@example.com\n")
    assert sender("suppress", "import", "mails.csv").code == 2


def test_why_reads_a_number_as_files_are_read(sender: Shell) -> None:
    sender.make_state()
    sender("suppress", "add", ADA)
    for written in ("Tel. (202) 555-0101 ext. 4", "+1202\u200b5550101", "2025550101 / 2025550102"):
        done = sender("suppress", "why", written, "--default-region", "US")
        assert (done.code, f"{ADA} suppressed: put on the suppression list by hand" in done.out) == (0, True), done
    assert "+12025550102 is not on the list and never was" in done.out
    assert sender("suppress", "why", "nobody").code == 2


def test_a_suppression_file_that_cannot_be_read_stops_the_start(sender: Shell) -> None:
    sender.write("people.csv", f"phone\n{ADA}\n{BOB}\n")
    command = ("send", "people.csv", "--provider", "sandbox", "--from", "+12025550100", "--body", "Hi", "--yes")
    for content, sentence in (
        (f"phone\n{ADA}\nnobody\n", "row 3, `phone`: `nobody`"),
        ("name,email\nAda,ada@example.com\n", "there is no column for the phone number"),
        ("phone,name\n,Ada\n", "not one phone number"),
    ):
        sender.write("stop.csv", content)
        done = sender(*command, "--suppress", "stop.csv")
        assert (done.code, sentence in done.err) == (2, True), done
    sender.write("stop.csv", f"phone\n{ADA}\nnobody\n")
    done = sender(*command, "--suppress", "stop.csv", "--unreadable", "1")
    assert done.code == 0, done
    assert "1 row holds a number that cannot be read" in done.out + done.err
    assert sender(*command, "--unreadable", "1").code == 2
