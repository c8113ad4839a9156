"""The evidence of a run: one archive that proves itself, and notices each byte that is not as it was."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import sender as library
from sender.core.errors import InputError
from sender.plan.approval_text import NAMESPACE
from sender.reports.evidence_archive import make_manifest, read_archive, write_archive
from tests.cli.conftest import Done, Sandbox, Shell
from tests.cli.test_approval import FAST, KEYGEN, House, make_key, public_line

pytestmark = pytest.mark.skipif(KEYGEN is None, reason="needs ssh-keygen")


@pytest.fixture
def house(sender: Shell, sandbox: Callable[..., Sandbox], tmp_path_factory: pytest.TempPathFactory) -> House:
    """A run of four that two people approved; one number is refused, and was sent to again."""
    keys = tmp_path_factory.mktemp("keys")
    made = House(sender, sandbox(), make_key(keys, "anna"), make_key(keys, "bob"))
    made.campaign(CAMPAIGN)
    made.allow(f"anna {public_line(made.anna)}", f"bob {public_line(made.bob)}")
    sender.write("people.csv", "name,phone\nAda,+12025550101\nBo,+12025550190\nCy,+12025550103\nNo,123\n")
    folder = made.plan()
    made.approve(folder)
    made.approve(folder, "bob")
    assert made("send", "spring.yaml", *FAST).code == 1
    assert made("retry", "spring", "--status", "rejected", "--reason", "invalid_number", *FAST).code == 1
    return made


CAMPAIGN = """\
name: spring
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "Hi {{ name }}, spring. STOP ends it"
rate: 50/s
approval: {approvals: 2}
"""


def write(house: House, *args: str) -> Path:
    done = house("evidence", "spring", "--output", "spring.tar", "--force", *args)
    assert done.code == 0, done
    return house.shell.folder / "spring.tar"


def verify(house: House, *args: str) -> Done:
    return house("evidence", "verify", "spring.tar", *args)


def test_it_has_everything_and_is_sound(house: House) -> None:
    file = write(house)
    with tarfile.open(file) as archive:
        names = archive.getnames()
        root = json.load(archive.extractfile("MANIFEST.json"))["run_id"]  # type: ignore[arg-type]
        members = {name.removeprefix(f"{root}/") for name in names if name.startswith(root)}
        journal = gzip.decompress(archive.extractfile(f"{root}/journal.csv.gz").read()).decode()  # type: ignore[union-attr]
    assert {"plan/plan.parquet", "plan/manifest.json", "journal.csv.gz", "summary.json", "report.json"} <= members
    assert {"run.json", "changes.json", "approval/approval.json", "approval/allowed_signers"} <= members
    assert len({name.split("/")[0] for name in names}) == 3  # the manifest, the run and its retry
    assert journal.count("accepted") == 2
    assert journal.count("\nSM") + journal.count(",SM") == 2  # the provider's ids
    done = verify(house)
    assert done.code == 0, done
    assert "4 rows = 1 skipped + 2 accepted + 1 rejected" in done.out
    assert "approved by anna and bob, by the allowed signers in the archive" in done.out
    assert "not signed" in done.out
    assert done.out.endswith("sound\n")


def test_the_same_state_gives_the_same_bytes(house: House) -> None:
    assert write(house).read_bytes() == write(house).read_bytes()


def test_it_is_checked_where_nothing_else_is(house: House, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(write(house), elsewhere)
    shutil.copy(house.shell.folder / "allowed_signers", elsewhere)
    shell = Shell(elsewhere)
    done = shell("evidence", "verify", "spring.tar", "--signers", "allowed_signers", "--json")
    assert done.code == 0, done
    assert done.json["sound"] is True
    assert done.json["runs"][0]["approved_by"] == ["anna", "bob"]
    (elsewhere / "allowed_signers").write_text(f"anna {public_line(house.anna)}\n", encoding="ascii")
    less = shell("evidence", "verify", "spring.tar", "--signers", "allowed_signers")
    assert less.code == 1, less
    assert "bob's approval does not count" in less.out
    assert "it needed 2 approvals, and 1 count" in less.out
    (elsewhere / "gone").write_text(public_line(house.anna) + "\n", encoding="ascii")
    gone = shell("evidence", "verify", "spring.tar", "--signers", "allowed_signers", "--revoked", "gone")
    assert "is revoked in gone" in gone.out


def test_openssh_alone_checks_the_approvals_in_it(house: House, tmp_path: Path) -> None:
    with tarfile.open(write(house)) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    root = json.loads((tmp_path / "out" / "MANIFEST.json").read_text(encoding="ascii"))["run_id"]
    folder = tmp_path / "out" / root / "approval"
    text = (folder / "approval.json").read_bytes()
    for name, signature in (("anna", "1.sig"), ("bob", "2.sig")):
        command = [str(KEYGEN), "-Y", "verify", "-f", str(folder / "allowed_signers"), "-I", name, "-n", NAMESPACE]
        done = subprocess.run([*command, "-s", str(folder / signature)], input=text, capture_output=True, check=False)
        assert done.returncode == 0, done


def test_a_byte_flipped_in_each_member_is_noticed(house: House) -> None:
    file = write(house, "--as", "anna", "--key", str(house.anna))
    sound = file.read_bytes()
    assert verify(house).code == 0
    places: set[int] = {*range(0, len(sound), 1009), len(sound) - 1}
    with tarfile.open(fileobj=io.BytesIO(sound)) as archive:
        for member in archive.getmembers():
            ends = (member.offset, member.offset_data, member.offset_data + member.size - 1)
            places |= {*ends, member.offset_data + member.size // 2, (ends[-1] // 512 + 1) * 512 - 1}
    for place in sorted(places):
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x04]) + sound[place + 1 :])
        assert not is_sound(file), place


def test_what_is_cut_off_or_added_is_noticed(house: House) -> None:
    file = write(house)
    sound = file.read_bytes()
    for changed in (sound[:-1], sound[:-1024], sound + b"\0", sound + bytes(10240), b"\0" + sound, sound[:5000], b""):
        file.write_bytes(changed)
        assert not is_sound(file)
    with tarfile.open(file := house.shell.folder / "other.tar", "w") as archive:
        archive.add(house.shell.folder / "people.csv", "people.csv")
    with pytest.raises(InputError, match="this is not a run's evidence"):
        library.verify_evidence(file)


def is_sound(file: Path) -> bool:
    try:
        return library.verify_evidence(file).is_sound
    except InputError:
        return False


def rewritten(file: Path, change: Callable[[Path], None], folder: Path) -> None:
    """Changes a member and writes all hashes anew, as somebody would who wants to deceive."""
    folder.mkdir()
    archive = read_archive(file, folder)
    change(folder)
    members = {each["name"]: folder / each["name"] for each in archive.manifest["members"]}
    values = {name: archive.manifest[name] for name in ("campaign", "run_id", "plan_hash", "versions", "signed_as")}
    with file.open("wb") as stream:
        write_archive(stream, make_manifest(values, members), members, archive.signature)


def edit_plan(folder: Path) -> None:
    for place in folder.glob("*/plan"):
        plan = library.Plan.open(place)
        library.Plan(plan.manifest, plan.frame.with_columns(body=plan.frame["body"] + "!")).write(place)


def edit_text(name: str, before: str, after: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for file in folder.glob(f"*/{name}"):
            file.write_text(file.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")

    return change


def lose_a_row(folder: Path) -> None:
    for file in folder.glob("*/journal.csv.gz"):
        lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
        file.write_bytes(gzip.compress(b"".join(lines[:-1])))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(edit_plan, "its messages are not those that were approved", id="texts"),
        pytest.param(lose_a_row, "summary.json is not what plan and journal say", id="journal"),
        pytest.param(edit_text("summary.json", '"accepted": 2', '"accepted": 3'), "summary.json is not", id="totals"),
        pytest.param(
            edit_text("approval/approval.json", '"messages": 3', '"messages": 4'), "was changed", id="approved"
        ),
        pytest.param(edit_text("approval/approvals.json", '"name": "bob"', '"name": "bo"'), "bo's approval", id="who"),
    ],
)
def test_hashes_that_were_made_anew_do_not_help(
    house: House, tmp_path: Path, change: Callable[[Path], None], sentence: str
) -> None:
    file = write(house)
    rewritten(file, change, tmp_path / "changed")
    done = verify(house)
    assert done.code == 1, done
    assert sentence in " ".join(done.out.split())


def test_a_signed_one_is_of_who_signed_it(house: House, tmp_path: Path) -> None:
    file = write(house, "--as", "anna", "--key", str(house.anna))
    done = verify(house, "--signers", "allowed_signers")
    assert done.code == 0, done
    assert "signed by anna, SHA256:" in done.out
    house.allow(f"bob {public_line(house.bob)}", f"anna {public_line(house.bob)}")
    assert "anna's signature of the archive does not count" in verify(house, "--signers", "allowed_signers").out
    rewritten(file, edit_text("report.json", "spring", "autumn"), tmp_path / "changed")
    changed = verify(house)
    assert changed.code == 1, changed
    assert "anna's signature of the archive does not count" in changed.out


def test_an_erased_person_is_a_note_and_not_a_fault(house: House) -> None:
    assert house("forget", "+12025550103", "--yes").code == 0
    write(house)
    done = verify(house)
    assert done.code == 0, done
    assert "1 person was erased from it: their messages cannot be compared" in " ".join(done.out.split())


def test_a_run_without_an_approval_has_evidence_too(sender: Shell) -> None:
    sender.people(3)
    args = ("--body", "Hi", "--from", "+12025550100", "--provider", "sandbox", "--name", "plain", *FAST)
    assert sender("send", "people.csv", *args).code == 0
    assert sender("evidence", "plain").code == 0
    (file,) = sender.folder.glob("plain-*-evidence.tar")
    assert file.stat().st_mode & 0o777 == 0o600
    assert sender("evidence", "verify", file.name).code == 0
    again = sender("evidence", "plain", "--output", "people.csv")
    assert again.code == 2, again


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("evidence", "spring", "--key", "x"), "add --as NAME"),
        (("evidence", "verify", "people.csv"), "this is not a run's evidence"),
        (("evidence", "verify", "none.tar"), "cannot be read"),
        (("evidence", "verify", "spring.yaml", "--revoked", "x"), "--revoked goes with --signers"),
        (("evidence", "summer"), "no run is called 'summer'"),
    ],
)
def test_careless_calls(house: House, args: tuple[str, ...], sentence: str) -> None:
    done = house(*args)
    assert done.code == 2, done
    assert sentence in done.err
