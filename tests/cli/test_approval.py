"""A campaign that asks for approvals: what is sent is what people have signed, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import sender as library
from sender.core.errors import ApprovalMissing, InputError
from sender.core.ssh_signatures import SshSignature
from sender.plan.approval_text import NAMESPACE
from sender.state.open import open_approvals
from tests.cli.conftest import Done, Sandbox, Shell
from tests.state.conftest import SOME_DATABASES, give_back, lent, new_database, servers, state_pools

__all__ = ["give_back", "lent", "new_database", "servers", "state_pools"]  # fixtures

KEYGEN = shutil.which("ssh-keygen")
pytestmark = pytest.mark.skipif(KEYGEN is None, reason="needs ssh-keygen")
CAMPAIGN = """\
name: spring
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "Hi {{ name }}, spring. STOP ends it"
rate: 50/s
approval: required
"""
FAST = ("--yes", "--wait", "0")


def make_key(folder: Path, name: str, kind: str = "ed25519") -> Path:
    """The private key of a person, made by OpenSSH; its public key is beside it."""
    file = folder / f"{name}.key"
    subprocess.run([str(KEYGEN), "-q", "-t", kind, "-N", "", "-C", name, "-f", str(file)], check=True)
    return file


def public_line(key: Path) -> str:
    return " ".join(key.with_name(f"{key.name}.pub").read_text(encoding="ascii").split()[:2])


@dataclass
class House:
    """A folder with a campaign, its list, two people who may sign, and a provider on this machine."""

    shell: Shell
    sandbox: Sandbox
    anna: Path
    bob: Path

    def __call__(self, *args: str) -> Done:
        return self.shell(*args, **self.sandbox.env)

    def campaign(self, text: str = CAMPAIGN) -> None:
        self.shell.write("spring.yaml", text)

    def allow(self, *lines: str) -> None:
        self.shell.write("allowed_signers", "# who may approve\n" + "\n".join(lines) + "\n")

    @property
    def where(self) -> str:
        """Its state, of which there is none yet in a folder."""
        return self.shell.env.get("SENDER_STATE", str(self.shell.folder / ".sender"))

    def make_state(self) -> None:
        if "SENDER_STATE" not in self.shell.env:
            self.shell.make_state()

    def plan(self, *args: str) -> str:
        """The folder of a new plan."""
        done = self("plan", "spring.yaml", *args, "--json")
        assert done.code == 0, done
        return str(done.json["directory"])

    def approve(self, folder: str, name: str = "anna", *args: str) -> Done:
        key = {"anna": self.anna, "bob": self.bob}.get(name, self.anna)
        return self("approve", folder, "--as", name, "--key", str(key), "--yes", *args)

    def sent(self) -> int:
        return sum(self.sandbox.counts().values())


over_all = pytest.mark.parametrize("house", ["folder", *SOME_DATABASES], indirect=True)


@pytest.fixture
def house(
    request: pytest.FixtureRequest,
    sender: Shell,
    sandbox: Callable[..., Sandbox],
    tmp_path_factory: pytest.TempPathFactory,
) -> House:
    if (kind := getattr(request, "param", "folder")) != "folder":
        sender.env["SENDER_STATE"] = request.getfixturevalue("new_database")(kind)
    keys = tmp_path_factory.mktemp("keys")
    made = House(sender, sandbox(), make_key(keys, "anna"), make_key(keys, "bob", "ecdsa"))
    made.campaign()
    made.allow(f"anna {public_line(made.anna)}", f"bob {public_line(made.bob)}")
    sender.people(3)
    return made


class TestWhatIsSent:
    @over_all
    def test_nothing_before_it_is_approved_and_the_plan_afterwards(self, house: House) -> None:
        refused = house("send", "spring.yaml", *FAST)
        assert refused.code == 3, refused
        assert "nobody has approved this plan" in refused.err
        folder = house.plan()
        assert "`sender approve" in house("plan", "spring.yaml").out
        assert house("send", folder, *FAST).code == 3
        assert house.sent() == 0
        approved = house.approve(folder)
        assert approved.code == 0, approved
        assert "approved as anna: 1 of 1 (anna)" in approved.out
        sent = house("send", "spring.yaml", *FAST)
        assert sent.code == 0, sent
        assert f"approved by anna, as the plan in {house.shell.folder / folder}" in sent.out
        assert house.sent() == 3

    def test_the_author_alone_is_not_enough_where_two_are_needed(self, house: House) -> None:
        house.campaign(CAMPAIGN.replace("approval: required", "approval: {approvals: 2}"))
        folder = house.plan()
        house.approve(folder)
        alone = house("send", folder, *FAST)
        assert alone.code == 3, alone
        assert "this plan of spring has 1 of 2 approvals (anna)" in alone.err
        house.approve(folder)
        assert house("send", folder, *FAST).code == 3  # twice the same person
        house.allow(f"anna,carl {public_line(house.anna)}", f"bob {public_line(house.bob)}")
        again = house.approve(folder, "carl")
        assert again.code == 2, again
        assert "anna has approved it with this key" in again.err
        assert house.approve(folder, "bob").code == 0
        assert house("send", folder, *FAST).code == 0
        assert house.sent() == 3

    @over_all
    def test_later_opt_outs_only_take_away(self, house: House) -> None:
        folder = house.plan()
        house.approve(folder)
        house.make_state()
        assert house("suppress", "add", "+12025550101").code == 0
        sent = house("send", "spring.yaml", *FAST)
        assert sent.code == 1, sent
        assert house.sandbox.counts() == {"+12025550100": 1, "+12025550102": 1}

    def test_planning_again_leaves_the_approved_plan(self, house: House) -> None:
        folder = house.plan()
        house.approve(folder)
        house.make_state()
        house("suppress", "add", "+12025550101")
        other = house.plan()
        assert other != folder
        assert "0 of 1" in house("plan", "spring.yaml").out
        assert house("send", folder, *FAST).code == 1
        assert house.sent() == 2

    @pytest.mark.parametrize(
        ("before", "after", "named"),
        [
            ("spring. STOP", "spring! STOP", "the rows"),
            ("rate: 50/s", "rate: 60/s", "`pace`"),
            ("rate: 50/s", "rate: 50/s\nlimits: {max_messages: 9}", "`limits`"),
            ("rate: 50/s", "rate: 50/s\nwindow: '00:00-23:59'", "`window`"),
            ("rate: 50/s", "rate: 50/s\ncanary: 1", "`canary`"),
            ("+12025550100", "+12025550199", "the rows"),
            ("approval: required", "approval: {approvals: 2}", "`approvals`"),
        ],
    )
    def test_a_changed_campaign_is_not_approved(self, house: House, before: str, after: str, named: str) -> None:
        house.approve(house.plan())
        house.campaign(CAMPAIGN.replace(before, after))
        refused = house("send", "spring.yaml", *FAST)
        assert refused.code == 3, refused
        assert f"{named} " in refused.err.replace(",", " ")
        assert "changed since anna approved it on" in refused.err
        assert house.sent() == 0

    def test_a_start_that_was_approved_is_the_start(self, house: House) -> None:
        house.campaign(CAMPAIGN + "start: 2031-01-01 09:00 UTC\n")
        folder = house.plan()
        house.approve(folder)
        for target in (folder, "spring.yaml"):
            refused = house("send", target, "--at", "now", *FAST)
            assert refused.code == 3, refused
            assert "`start` changed since anna approved it" in refused.err

    def test_nor_is_a_longer_list(self, house: House) -> None:
        house.approve(house.plan())
        house.shell.people(4)
        assert house("send", "spring.yaml", *FAST).code == 3
        assert house.sent() == 0

    def test_an_edited_plan_is_not_approved_even_with_its_checksums(self, house: House) -> None:
        """Whoever writes texts and checksums anew has the approved hash in the manifest, and other messages."""
        folder = house.shell.folder / house.plan()
        house.approve(str(folder))
        plan = library.Plan.open(folder)
        text = plan.frame.with_columns(body=plan.frame["body"].str.replace("spring", "SPRING"))
        library.Plan(plan.manifest, text).write(folder)
        assert library.Plan.open(folder).hash == plan.hash
        refused = house("send", str(folder), *FAST)
        assert refused.code == 3, refused
        assert "was changed since anna approved it" in refused.err
        assert house("send", "spring.yaml", *FAST).code == 3
        assert house.sent() == 0

    def test_limits_and_rates_of_a_start_are_those_approved(self, house: House) -> None:
        folder = house.plan()
        house.approve(folder)
        refused = house("send", folder, "--max-messages", "50", *FAST)
        assert refused.code == 3, refused
        assert "`limits`" in refused.err
        assert house("send", "spring.yaml", "--rate", "none", *FAST).code == 3
        first = house("send", folder, "--limit", "2", *FAST)
        assert first.code == 0, first
        assert house("send", "spring.yaml", *FAST).code == 0
        assert house.sent() == 3


class TestAgain:
    @over_all
    def test_sending_it_again_needs_an_approval_of_its_own(self, house: House) -> None:
        folder = house.plan()
        early = house.approve(folder, "anna", "--again")
        assert early.code == 2, early
        house.approve(folder)
        assert house("send", folder, *FAST).code == 0
        refused = house("send", folder, "--again", *FAST)
        assert refused.code == 3, refused
        assert "needs its own approval" in refused.err
        assert house.approve(folder, "anna", "--again").code == 0
        assert house("send", "spring.yaml", "--again", *FAST).code == 0
        assert house.sent() == 6
        assert house("send", folder, "--again", *FAST).code == 3  # once
        assert house.sent() == 6

    @over_all
    def test_a_retry_is_covered_by_what_its_run_was_approved_for(self, house: House) -> None:
        house.shell.write("people.csv", "name,phone\nAda,+12025550190\nBo,+12025550101\n")
        house.approve(house.plan())
        assert house("send", "spring.yaml", *FAST).code == 1
        retried = house("retry", "spring", "--status", "rejected", "--reason", "invalid_number", *FAST)
        assert retried.code == 1, retried
        assert "approved by anna" in retried.out
        twice = house("retry", "spring", "--include-delivered", "--include-unknown", *FAST)
        assert twice.code == 3, twice
        assert "approved to reach each person once" in twice.err

    @over_all
    def test_a_run_that_was_cut_off_goes_on_while_its_approval_counts(self, house: House) -> None:
        folder = house.plan()
        house.approve(folder)
        assert house("send", folder, "--limit", "1", *FAST).code == 0
        house.allow(f"bob {public_line(house.bob)}")
        for command in (("send", "spring.yaml"), ("send", "spring.yaml", "--resume"), ("resume", "spring")):
            refused = house(*command, *FAST)
            assert refused.code == 3, refused
            assert "anna's approval does not count" in refused.err
        house.allow(f"anna {public_line(house.anna)}")
        changed = house("resume", "spring", "--max-messages", "9", *FAST)
        assert changed.code == 3, changed
        assert "max_messages cannot be changed" in changed.err
        assert house("resume", "spring", *FAST).code == 0
        assert house.sent() == 3

    @over_all
    def test_an_edited_run_does_not_go_on(self, house: House) -> None:
        house.approve(house.plan())
        house("send", "spring.yaml", "--limit", "1", *FAST)
        with library.open_state(house.where) as state:
            (run,) = state.ledger.runs()
            plan = state.plan(run)
            edited = library.Plan(plan.manifest, plan.frame.with_columns(body=plan.frame["body"] + "!"))
            if house.where.startswith("postgresql:"):
                state.plans.save(run, edited)
            else:  # where nobody writes a plan twice
                edited.write(house.shell.folder / "edited")
                plan_folder = state.plans.folder(run) / "plan"
                shutil.copytree(house.shell.folder / "edited", plan_folder, dirs_exist_ok=True)
        refused = house("resume", "spring", *FAST)
        assert refused.code == 3, refused
        assert "is not the one that was approved" in refused.err
        assert house.sent() == 1

    @over_all
    def test_erasing_somebody_leaves_a_run_approved_and_a_plan_not(self, house: House) -> None:
        folder = house.plan()
        house.approve(folder)
        house("send", "spring.yaml", "--limit", "1", *FAST)
        assert house("forget", "+12025550101", "--yes").code == 0
        assert house("resume", "spring", *FAST).code == 1
        assert house.sent() == 2
        voided = house("send", folder, "--new-run", *FAST)
        assert voided.code == 3, voided


class TestWhoNeedsNone:
    def test_what_reaches_nobody_says_so(self, house: House) -> None:
        rehearsed = house("send", "spring.yaml", "--rehearse", *FAST)
        assert rehearsed.code == 0, rehearsed
        assert "no approval is needed, since no message reaches anybody" in rehearsed.out
        assert house("send", "spring.yaml", "--test-to", "+12025550142", *FAST).code == 0
        house.campaign(CAMPAIGN.replace("provider: twilio", "provider: sandbox"))
        simulated = house("plan", "spring.yaml")
        assert "approval: not needed here" in simulated.out
        assert house("send", "spring.yaml", *FAST).code == 0
        refused = house.approve(house.plan())
        assert refused.code == 2
        assert "needs no approval" in refused.err

    def test_a_dry_run_says_what_is_missing(self, house: House) -> None:
        done = house("send", "spring.yaml", "--dry-run")
        assert "a real start would be refused: " in done.out, done
        assert "nobody has approved this plan" in re.sub(r"\s+", " ", done.out)

    def test_a_run_from_before_is_closed_or_approved(self, house: House) -> None:
        house.campaign(CAMPAIGN.replace("approval: required\n", ""))
        assert house("send", "spring.yaml", "--limit", "1", *FAST).code == 0
        house.shell.write("sender.toml", 'approval = "required"\n')
        refused = house("resume", "spring", *FAST)
        assert refused.code == 3, refused
        assert "began without an approval" in refused.err


class TestFolders:
    def test_a_folders_default_holds_for_a_written_plan(self, house: House) -> None:
        house.campaign(CAMPAIGN.replace("approval: required\n", ""))
        folder = house.plan()
        house.shell.write("sender.toml", "[approval]\napprovals = 2\n")
        refused = house("send", folder, *FAST)
        assert refused.code == 3, refused
        assert "spring needs 2 approvals" in refused.err
        assert house.approve(folder).code == 0
        assert house.approve(folder, "bob").code == 0
        assert house("send", folder, *FAST).code == 0

    @pytest.mark.parametrize(
        ("own", "sentence"),
        [
            ("approval: none", "requires an approval, but the campaign none"),
            ("approval: {approvals: 1}", "asks for 2 approvals, and the campaign for 1"),
            ("approval: {signers: mine}", "leave out `approval.signers`"),
        ],
    )
    def test_a_campaign_cannot_ask_for_less(self, house: House, own: str, sentence: str) -> None:
        house.shell.write("sender.toml", "approval = {approvals = 2}\n")
        house.campaign(CAMPAIGN.replace("approval: required", own))
        refused = house("plan", "spring.yaml")
        assert refused.code == 2, refused
        assert sentence in refused.err

    def test_a_schedule_makes_plans_that_nobody_has_seen(self, house: House) -> None:
        house.campaign(CAMPAIGN + "schedule: {cron: '0 9 * * mon', zone: UTC}\n")
        refused = house("plan", "spring.yaml")
        assert refused.code == 2, refused
        assert "`approval` and `schedule` exclude each other" in refused.err


class TestKeys:
    def test_a_revoked_key(self, house: House) -> None:
        house.campaign(CAMPAIGN.replace("approval: required", "approval: {revoked: gone}"))
        house.shell.write("gone", "# nobody\n")
        folder = house.plan()
        assert house.approve(folder).code == 0
        subprocess.run([str(KEYGEN), "-q", "-k", "-f", "gone", f"{house.anna}.pub"], cwd=house.shell.folder, check=True)
        sent = house("send", folder, *FAST)
        assert sent.code == 3, sent
        assert "is revoked in" in sent.err
        again = house.approve(folder)
        assert again.code == 2, again
        assert "would not count: its key SHA256:" in again.err
        house.shell.write("gone", "ssh-ed25519 AAAA\n")
        broken = house("send", folder, *FAST)
        assert broken.code == 2, broken
        assert "not a list of revoked keys" in broken.err
        assert house.sent() == 0

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("bob {anna}", "does not allow it: there it is bob's"),
            ("anna {bob}", "is not there"),
            ('anna namespaces="git" {anna}', "may sign for 'git' alone"),
            ('anna valid-before="20200101" {anna}', "was valid until 2020-01-01"),
            ('anna valid-after="20990101Z" {anna}', "is valid from 2099-01-01"),
            ("anna", "line 2: no key"),
            ("anna ssh-ed25519 AAAA", "line 2: it is not a public key"),
            ('anna colour="red" {anna}', "line 2: unknown option 'colour'"),
        ],
    )
    def test_who_may_not(self, house: House, line: str, sentence: str) -> None:
        house.allow(line.format(anna=public_line(house.anna), bob=public_line(house.bob)))
        refused = house.approve(house.plan())
        assert refused.code == 2, refused
        assert sentence in re.sub(r"\s+", " ", refused.err)

    def test_signing_elsewhere_with_openssh_alone(self, house: House) -> None:
        folder = house.plan()
        shown = house("approve", folder, "--show")
        assert json.loads(shown.out)["campaign"] == "spring"
        text = house.shell.write("approval.json", shown.out)
        command = [str(KEYGEN), "-q", "-Y", "sign", "-f", str(house.bob), "-n", NAMESPACE, str(text)]
        subprocess.run(command, check=True, capture_output=True)
        done = house("approve", folder, "--as", "bob", "--signature", "approval.json.sig")
        assert done.code == 0, done
        assert house("send", folder, *FAST).code == 0

    def test_what_we_sign_openssh_verifies(self, house: House) -> None:
        folder = house.plan()
        text = house("approve", folder, "--show").out
        house.approve(folder)
        ((kept,),) = (approved.approvals for approved in open_approvals(house.where).read())
        signature = house.shell.write("anna.sig", kept.signature)
        assert SshSignature.parse(kept.signature).armored() == kept.signature
        command = [str(KEYGEN), "-Y", "verify", "-f", "allowed_signers", "-I", "anna", "-n", NAMESPACE]
        command += ["-s", str(signature)]
        for message, code in ((text, 0), (text + " ", 255)):
            done = subprocess.run(
                command, input=message.encode(), cwd=house.shell.folder, capture_output=True, check=False
            )
            assert done.returncode == code, done

    def test_a_file_of_another_user_is_not_believed(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = house.plan()
        monkeypatch.setattr("sender.core.allowed_signers.is_foreign", lambda path: path.name == "allowed_signers")
        refused = house.approve(folder)
        assert refused.code == 2
        assert "belongs to another user" in refused.err

    @pytest.mark.parametrize(
        ("args", "sentence"),
        [
            (("approve", "spring.yaml", "--as", "anna", "--yes"), "is not a written plan"),
            (("approve", "{plan}", "--yes"), "add --as NAME"),
            (("approve", "{plan}", "--as", "anna"), "add --yes"),
            (("approve", "{plan}", "--as", "anna", "--yes", "--key", "none"), "name your key with --key"),
            (("approve", "{plan}", "--as", "anna", "--signature", "spring.yaml"), "it is not an SSH signature"),
        ],
    )
    def test_careless_calls(self, house: House, args: tuple[str, ...], sentence: str) -> None:
        folder = house.plan()
        done = house(*(arg.format(plan=folder) for arg in args))
        assert done.code == 2, done
        assert sentence in re.sub(r"\s+", " ", done.err)


def test_from_python(house: House) -> None:
    folder = house.shell.folder / house.plan()
    state = house.shell.folder / ".sender"
    campaign = library.load_campaign(house.shell.folder / "spring.yaml")
    keywords = {"state_dir": state, "env": house.sandbox.env, "source": house.shell.folder / "spring.yaml"}
    with pytest.raises(ApprovalMissing, match="nobody has approved"):
        library.send(library.build_plan(campaign, state_dir=state), init_state=True, **keywords)
    with pytest.raises(InputError, match="would not count"):
        library.approve(folder, "bob", key=house.anna, state_dir=state)
    done = library.approve(folder, "anna", key=house.anna, state_dir=state)
    assert done.is_complete
    result = library.send(library.build_plan(campaign, state_dir=state), **keywords)
    assert result.exit_code == 0
    assert house.sent() == 3
