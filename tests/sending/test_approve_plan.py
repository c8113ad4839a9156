"""Approvals by the library: who has approved a written plan, and what a start, a run and a retry count as approved."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import sender
from sender.core.errors import ApprovalMissing, InputError
from sender.core.sign_text import sign_text
from sender.plan.approval_text import NAMESPACE
from sender.planning.retry import retry_plan
from sender.sending.approval import ApprovalTerms, check_approval, find_approved_plan, is_descended
from sender.sending.approve_plan import ApprovedPlan, approve, read_approvals, read_terms, text_to_approve
from sender.sending.choose_run import RunChoice
from sender.sending.open_run import open_run_again
from sender.sending.options import SendOptions
from sender.state.approvals import ApprovedText, RunApproval
from sender.state.ledger import Run
from tests.state.run_history import ACCEPTED, ADA, GRACE, PENDING, REJECTED, RunHistory, plan_for, run_history

START = {"at": "2031-01-01T09:00:00+00:00", "late_s": 3600.0, "zone": "UTC", "note": None}
ENV = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x" * 32}


class Office:
    """People with keys, the file of who may approve, and a state with the runs of the campaign."""

    def __init__(self, folder: Path, history: RunHistory) -> None:
        self.folder = folder
        self.history = history
        self.state = history.folder
        self.signers = folder / "allowed_signers"
        self.lines = {name: self._make_key(name) for name in ("anna", "bob")}
        self.allow("anna", "bob")

    def _make_key(self, name: str) -> str:
        key = Ed25519PrivateKey.generate()
        self.key(name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def allow(self, *names: str, **valid: str) -> None:
        """Let these people approve, with these options of their lines."""
        given = "".join(f'{name.replace("_", "-")}="{value}" ' for name, value in valid.items())
        keys = {**self.lines, "carl": self.lines["anna"]}  # who uses anna's key
        self.signers.write_text("".join(f"{name} {given}{keys[name]}\n" for name in names), encoding="ascii")

    def asks(self, plan: sender.Plan, needed: int = 1) -> sender.Plan:
        """The plan of a campaign that asks for approvals."""
        terms = {"approvals": needed, "signers": str(self.signers), "revoked": None}
        return plan.with_manifest(replace(plan.manifest, approval=terms))

    def write(self, *people: str, needed: int = 1) -> Path:
        """The folder of a written plan."""
        folder = self.folder / f"plan-{len(people)}-{needed}"
        self.asks(plan_for(*people), needed).write(folder)
        return folder

    def approve(self, plan: Path, name: str = "anna", **ways: Any) -> ApprovedPlan:
        key = self.key("bob" if name == "bob" else "anna")
        return approve(plan, name, **{"key": key, "state_dir": self.state, **ways})

    def check(self, plan: sender.Plan, run: Run | None = None, **ways: Any) -> RunApproval | None:
        options = SendOptions(state_dir=self.state, env=ENV, **ways)
        return check_approval(self.history.state, plan, options, RunChoice(run))

    def run(self, fates: dict[str, Any]) -> Run:
        """A run that began with an approval of anna's."""
        folder = self.write(*fates)
        self.approve(folder)
        run = self.history.add(fates)
        self.edit_manifest(run, approval=self.asks(plan_for(*fates)).manifest.approval)
        (approved,) = self.history.state.approvals.read()
        began_with = self.history.state.plan(run).manifest.parquet_sha256
        self.history.state.approvals.note_run(run, RunApproval(approved, began_with))
        return run

    def edit_manifest(self, run: Run, **values: Any) -> None:
        """Write the run's manifest anew, with its checksum, as a person may do who knows how."""
        manifest = self.history.state.plans.manifest(run)
        assert manifest is not None
        (file,) = self.history.state.plans.folder(run).rglob("manifest.json")
        file.write_text(replace(manifest, **values).to_json(), encoding="utf-8")


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with run_history(tmp_path / "state") as history:
        yield Office(tmp_path, history)


def names(approved: ApprovedPlan) -> list[str]:
    return [name for name, _ in approved.counted.people]


class TestApproving:
    def test_everybody_who_has_approved_is_counted(self, office: Office) -> None:
        folder = office.write(ADA, needed=2)
        first = office.approve(folder)
        assert (names(first), first.needed, first.is_complete) == (["anna"], 2, False)
        second = office.approve(folder, "bob")
        assert (names(second), second.needed, second.is_complete) == (["anna", "bob"], 2, True)
        (kept,) = office.history.state.approvals.read()
        assert [(each.name, each.key) for each in kept.approvals] == list(second.counted.people)
        assert kept.plan == str(folder)
        assert kept.text == text_to_approve(second.plan, office.state)

    def test_a_key_is_named_as_text_as_well(self, office: Office) -> None:
        assert names(office.approve(office.write(ADA), key=str(office.key("anna")))) == ["anna"]

    def test_a_signature_that_was_made_elsewhere(self, office: Office) -> None:
        folder = office.write(ADA)
        text = text_to_approve(sender.Plan.open(folder), office.state)
        made = sign_text(text.encode(), office.key("bob"), NAMESPACE)
        assert names(office.approve(folder, "bob", key=None, signature=made)) == ["bob"]
        with pytest.raises(InputError, match="would not count"):
            office.approve(folder, "anna", key=None, signature=made)

    def test_one_key_is_one_person(self, office: Office) -> None:
        office.allow("anna", "bob", "carl")
        folder, other = office.write(ADA), office.write(ADA, GRACE)
        office.approve(folder)
        with pytest.raises(InputError, match="anna has approved it with this key"):
            office.approve(folder, "carl")
        assert names(office.approve(folder, "bob")) == ["anna", "bob"]
        assert names(office.approve(folder)) == ["anna", "bob"], "the same person once more"
        assert names(office.approve(other, "carl")) == ["carl"], "another plan is not that one"

    @pytest.mark.parametrize(
        ("option", "days", "counts"),
        [
            ("valid_after", -1, True),
            ("valid_after", 1, False),
            ("valid_before", 1, True),
            ("valid_before", -1, False),
        ],
    )
    def test_a_key_counts_while_it_is_valid(self, office: Office, option: str, days: int, counts: bool) -> None:
        moment = datetime.fromtimestamp(time.time() + days * 86_400, UTC)
        office.allow("anna", **{option: f"{moment:%Y%m%d%H%M%SZ}"})
        folder = office.write(ADA)
        if counts:
            approved = office.approve(folder)
            assert names(approved) == ["anna"]
            terms = read_terms(approved.plan, office.state)
            assert read_approvals(approved.plan, terms, office.state) == approved.counted
        else:
            with pytest.raises(InputError, match="would not count"):
                office.approve(folder)
            assert not office.history.state.approvals.read()

    @pytest.mark.parametrize("provider", ["twilio", "sandbox"])
    def test_what_needs_no_approval_is_refused(self, office: Office, provider: str) -> None:
        plan = plan_for(ADA, provider=provider)
        if provider == "sandbox":
            plan = office.asks(plan)
        with pytest.raises(InputError, match="no approval"):
            read_terms(plan, office.state)

    @pytest.mark.parametrize(
        ("folders", "own", "needed"),
        [
            pytest.param({"plans": 2}, None, 2, id="the folder of the plan"),
            pytest.param({".": 2}, None, 2, id="the folder of the state"),
            pytest.param({"plans": 2}, 1, 2, id="the folder asks for more than the campaign"),
            pytest.param({"plans": 2}, 3, 3, id="the campaign asks for more than the folder"),
            pytest.param({"plans": 2, ".": 3}, None, 3, id="two folders"),
        ],
    )
    def test_the_most_approvals_that_somebody_asks_for_are_needed(
        self, office: Office, folders: dict[str, int], own: int | None, needed: int
    ) -> None:
        written = office.folder / "plans" / "spring"
        written.parent.mkdir()
        plan = plan_for(ADA)
        (plan if own is None else office.asks(plan, own)).write(written)
        for folder, approvals in folders.items():
            text = f"[approval]\napprovals = {approvals}\nsigners = {str(office.signers)!r}\n"
            (office.folder / folder / "sender.toml").write_text(text, encoding="utf-8")
        assert read_terms(sender.Plan.open(written), office.state).needed == needed

    @pytest.mark.parametrize("key", ["signers", "revoked"])
    def test_two_folders_that_name_different_files_are_not_chosen_between(self, office: Office, key: str) -> None:
        written = office.folder / "plans" / "spring"
        written.parent.mkdir()
        plan_for(ADA).write(written)
        other = office.folder / "other"
        other.write_text(office.signers.read_text(encoding="ascii"), encoding="ascii")
        files = {"plans": {"signers": office.signers}, ".": {"signers": office.signers, key: other}}
        for folder, named in files.items():
            lines = "".join(f"{name} = {str(file)!r}\n" for name, file in named.items())
            (office.folder / folder / "sender.toml").write_text(f"[approval]\napprovals = 1\n{lines}", encoding="utf-8")
        with pytest.raises(InputError, match="name different files of allowed signers") as refused:
            read_terms(sender.Plan.open(written), office.state)
        for folder in files:
            assert str(office.folder / folder / "sender.toml") in refused.value.what

    def test_a_key_that_was_revoked_does_not_count(self, office: Office) -> None:
        """Wherever the file of revoked keys is named."""
        folder = office.write(ADA)
        office.approve(folder)
        revoked = office.folder / "revoked"
        revoked.write_text(office.lines["anna"] + "\n", encoding="ascii")
        terms = ApprovalTerms(1, office.signers, revoked)
        plan = sender.Plan.open(folder)
        counted = read_approvals(plan, terms, office.state)
        assert counted.people == ()
        (problem,) = counted.problems
        assert problem.startswith("anna's approval does not count: ")
        assert read_approvals(plan, replace(terms, revoked=None), office.state).people != ()


class TestSendingAgain:
    def test_it_is_approved_by_itself(self, office: Office) -> None:
        folder = office.write(ADA)
        plan = sender.Plan.open(folder)
        terms = read_terms(plan, office.state)
        for state in (office.state, office.folder / "none"):
            with pytest.raises(InputError, match="has not been sent yet"):
                text_to_approve(plan, state, again=True)
        office.approve(folder)
        office.history.add({ADA: ACCEPTED})
        newest = office.history.add({ADA: ACCEPTED}).run_id
        with pytest.raises(ApprovalMissing, match="sending it again needs its own approval"):
            office.check(plan, again=True)
        assert read_approvals(plan, terms, office.state, again_after=newest).people == ()
        office.approve(folder, "bob", again=True)
        by_again = read_approvals(plan, terms, office.state, again_after=newest)
        assert [name for name, _ in by_again.people] == ["bob"]
        assert [name for name, _ in read_approvals(plan, terms, office.state).people] == ["anna"]
        found = office.check(plan, again=True)
        assert found is not None
        assert json.loads(found.approved.text)["again_after"] == newest

    def test_once_more_is_no_part_of_the_text_unless_it_is_asked_for(self, office: Office) -> None:
        office.history.add({ADA: ACCEPTED})
        plan = sender.Plan.open(office.write(ADA))
        assert "again_after" not in json.loads(text_to_approve(plan, office.state))
        assert json.loads(text_to_approve(plan, office.state, again=True))["again_after"] == "run-0"


class TestStarts:
    def test_the_campaign_sends_the_plan_that_was_approved(self, office: Office) -> None:
        folder, today = office.write(ADA), office.asks(plan_for(ADA))
        options = SendOptions(state_dir=office.state, env=ENV)
        assert find_approved_plan(today, options) is today
        office.approve(folder)
        assert find_approved_plan(today, options).directory == folder
        other = office.asks(plan_for(ADA, GRACE))
        assert find_approved_plan(other, options) is other
        rehearsed = replace(options, rehearse=True)
        assert find_approved_plan(today, rehearsed) is today

    def test_what_differs_from_the_approved_plan_is_named(self, office: Office) -> None:
        office.approve(office.write(ADA))
        today = office.asks(plan_for(ADA))
        pace = today.manifest.pace
        faster = today.with_manifest(replace(today.manifest, pace=replace(pace, rate="9/s", per_s=9.0)))
        with pytest.raises(ApprovalMissing) as missing:
            office.check(faster)
        assert "`pace` changed since anna approved it" in missing.value.what
        assert "plan_hash" not in missing.value.what
        assert "the rows" not in missing.value.what

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            pytest.param(shutil.rmtree, "is gone", id="gone"),
            pytest.param(
                lambda folder: (folder / "manifest.json").write_text("{}", encoding="ascii"),
                "was changed since anna approved it on",
                id="edited",
            ),
        ],
    )
    def test_an_approved_plan_that_is_no_longer_there_is_not_sent(
        self, office: Office, change: Callable[[Path], object], says: str
    ) -> None:
        folder, today = office.write(ADA), office.asks(plan_for(ADA))
        office.approve(folder)
        change(folder)
        options = SendOptions(state_dir=office.state, env=ENV)
        assert find_approved_plan(today, options) is today
        with pytest.raises(ApprovalMissing, match=says) as missing:
            office.check(today)
        assert str(folder) in missing.value.what

    @pytest.mark.parametrize("comes_back", [True, False])
    def test_a_plan_without_its_folder_is_named_by_where_it_was(self, office: Office, comes_back: bool) -> None:
        """And one that is there again, by what has become of it."""
        folder = office.write(ADA)
        office.approve(folder)
        shutil.rmtree(folder)
        if comes_back:
            folder.mkdir()
        with pytest.raises(ApprovalMissing) as missing:
            office.check(office.asks(plan_for(ADA)))
        says = f"{folder} was changed since anna" if comes_back else f"its folder {folder} is gone"
        assert f"this is not the plan of spring that was approved: {says}" in missing.value.what
        assert str(missing.value.fix) == (
            "`sender plan CAMPAIGN` writes the plan, and `sender approve PLAN --as NAME` approves it"
        )

    def test_what_another_campaign_had_approved_is_not_named(self, office: Office) -> None:
        office.approve(office.write(ADA))
        other = office.asks(plan_for(ADA, campaign="autumn"))
        with pytest.raises(ApprovalMissing, match="autumn needs an approval before it is sent, and nobody has"):
            office.check(other)

    def test_the_newest_change_is_named(self, office: Office) -> None:
        """Of two plans that were approved, the later one is what today's is compared with."""
        office.approve(office.write(ADA))
        plan = office.asks(plan_for(ADA, GRACE))
        faster = replace(plan.manifest, pace=replace(plan.manifest.pace, rate="9/s", per_s=9.0))
        written = office.folder / "faster"
        plan.with_manifest(faster).write(written)
        office.approve(written, "bob")
        with pytest.raises(ApprovalMissing, match="approved: `pace` changed since bob approved it on "):
            office.check(plan)

    def test_the_newest_plan_that_was_approved_is_sent(self, office: Office) -> None:
        first, second = office.folder / "first", office.folder / "second"
        plan = office.asks(plan_for(ADA))
        later = replace(plan.manifest, start=START)
        plan.with_manifest(later).write(first)
        plan.write(second)
        options = SendOptions(state_dir=office.state, env=ENV)
        office.approve(first)
        assert find_approved_plan(plan, options) is plan, "it was approved to begin at another time"
        office.approve(second)
        found = find_approved_plan(plan.with_manifest(later), options)
        assert (found.directory, found.manifest.start) == (second, START), "the start is the one of today"

    def test_one_key_counts_as_one_person(self, office: Office) -> None:
        """Though the file has given it to another person since."""
        office.allow("anna", "bob", "carl")
        folder = office.write(ADA, needed=2)
        plan = sender.Plan.open(folder)
        office.approve(folder)
        text = text_to_approve(plan, office.state)
        made = sign_text(text.encode(), office.key("anna"), NAMESPACE)
        own = office.history.state.approvals.read()[0].approvals[0]
        carl = replace(own, name="carl", signature=made)
        office.history.state.approvals.add(ApprovedText(text, str(folder), (carl,)))
        counted = read_approvals(plan, read_terms(plan, office.state), office.state)
        assert counted.people == (("anna", own.key),)
        (problem,) = counted.problems
        assert problem.startswith("carl's approval does not count: ")
        with pytest.raises(ApprovalMissing, match=r"has 1 of 2 approvals \(anna\); carl's approval") as missing:
            office.check(plan)
        assert f"another person approves it: `sender approve {folder} --as NAME`" in str(missing.value.fix)

    def test_a_plan_that_nobody_may_approve_any_more(self, office: Office) -> None:
        folder = office.write(ADA)
        office.approve(folder)
        office.allow("bob")
        with pytest.raises(ApprovalMissing, match="this plan of spring has 0 of 1 approvals; anna's") as missing:
            office.check(sender.Plan.open(folder))
        assert str(missing.value.fix).startswith(f"approve it: `sender approve {folder}")

    @pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be set")
    @pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
    def test_the_day_of_an_approval_is_that_of_utc(
        self, office: Office, monkeypatch: pytest.MonkeyPatch, zone: str
    ) -> None:
        folder = office.write(ADA)
        office.approve(folder)
        (approved,) = office.history.state.approvals.read()
        on_the_day = int(datetime(2026, 11, 29, 11, 5, tzinfo=UTC).timestamp() * 1000)
        moved = replace(approved, approvals=(replace(approved.approvals[0], at_ms=on_the_day),))
        office.history.state.approvals.add(moved)
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            with pytest.raises(ApprovalMissing, match="changed since anna approved it on 2026-11-29"):
                office.check(office.asks(plan_for(ADA, GRACE)))
        finally:
            monkeypatch.undo()
            time.tzset()

    @pytest.mark.parametrize(
        ("needed", "ways", "many", "fix"),
        [
            pytest.param(1, {}, "an approval", "as NAME` approves it", id="one"),
            pytest.param(2, {}, "2 approvals", "as NAME` approves it", id="two"),
            pytest.param(1, {"again": True}, "an approval", "as NAME --again` approves it", id="once more"),
        ],
    )
    def test_how_many_have_to_approve_it_and_how(
        self, office: Office, needed: int, ways: dict[str, Any], many: str, fix: str
    ) -> None:
        office.history.add({ADA: ACCEPTED})
        folder = office.write(ADA, needed=needed)
        with pytest.raises(ApprovalMissing, match=f"spring needs {many} before it is sent") as missing:
            office.check(sender.Plan.open(folder), **ways)
        assert str(missing.value.fix).startswith(f"`sender approve {folder} --")
        assert fix in str(missing.value.fix)

    def test_nobody_has_approved_it(self, office: Office) -> None:
        with pytest.raises(ApprovalMissing, match="nobody has approved this plan"):
            office.check(office.asks(plan_for(ADA)))


class TestRuns:
    def test_a_run_goes_on_as_it_was_approved(self, office: Office) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: PENDING})
        approval = office.check(office.asks(plan_for(ADA, GRACE)), run)
        assert approval == office.history.state.approvals.of_run(run)
        options = SendOptions(state_dir=office.state, env=ENV)
        with open_run_again(run.run_id, options) as session:
            assert session.run.run_id == run.run_id
        with (
            pytest.raises(ApprovalMissing, match="max_messages cannot be changed"),
            open_run_again(run.run_id, options, {"max_messages": 5}),
        ):
            pass

    @pytest.mark.parametrize(
        "edit",
        [
            pytest.param({"templates": {"body": "Bye"}}, id="a text"),
            pytest.param({"limits": {"max_messages": 9}}, id="a limit"),
            pytest.param({"parquet_sha256": "0" * 64}, id="the rows"),
        ],
    )
    def test_a_plan_that_was_edited_does_not_count(self, office: Office, edit: dict[str, Any]) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: PENDING})
        office.edit_manifest(run, **edit)
        with pytest.raises(ApprovalMissing, match="its file was changed"):
            office.check(office.asks(plan_for(ADA, GRACE)), run)

    @pytest.mark.parametrize("start", [START, None], ids=["at a time", "when it is sent"])
    def test_a_run_may_begin_at_another_time_than_was_approved(self, office: Office, start: Any) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: PENDING})
        office.edit_manifest(run, start=start)
        assert office.check(office.asks(plan_for(ADA, GRACE)), run) is not None

    @pytest.mark.parametrize(
        ("valid", "counts"),
        [
            pytest.param({"valid_before": "20260102"}, True, id="expired since"),
            pytest.param({"valid_before": "20251231"}, False, id="expired before it began"),
            pytest.param({"valid_after": "20251231"}, True, id="valid when it began"),
            pytest.param({"valid_after": "20260102"}, False, id="valid since"),
        ],
    )
    def test_a_key_counts_that_was_valid_when_the_run_began(
        self, office: Office, valid: dict[str, str], counts: bool
    ) -> None:
        """It began on 2026-01-01."""
        run = office.run({ADA: ACCEPTED, GRACE: PENDING})
        office.allow("anna", **valid)
        if counts:
            assert office.check(office.asks(plan_for(ADA, GRACE)), run) is not None
        else:
            with pytest.raises(ApprovalMissing, match="run-0 of spring has 0 of 1 approvals; anna's approval does not"):
                office.check(office.asks(plan_for(ADA, GRACE)), run)

    def test_a_run_that_began_without_an_approval_does_not_go_on_where_one_is_asked_for(self, office: Office) -> None:
        run = office.history.add({ADA: ACCEPTED, GRACE: PENDING})
        with pytest.raises(ApprovalMissing, match="run-0 of spring began without an approval") as missing:
            office.check(office.asks(plan_for(ADA, GRACE)), run)
        assert str(missing.value.fix).startswith("`sender close run-0` ends it")
        assert office.check(plan_for(ADA, GRACE), run) is None, "nobody asks for one"

    @pytest.mark.parametrize(
        ("changes", "current", "is_same"),
        [
            pytest.param([], "a", True, id="unchanged"),
            pytest.param([], "b", False, id="edited"),
            pytest.param([("a", "b")], "b", True, id="somebody was erased"),
            pytest.param([("a", "b"), ("b", "c")], "c", True, id="two were, one after the other"),
            pytest.param([("a", "b")], "c", False, id="edited after that"),
            pytest.param([("x", "b")], "b", False, id="edited before that"),
            pytest.param([("a", "b")], "a", False, id="put back"),
        ],
    )
    def test_only_people_who_were_erased_may_be_missing_from_what_was_approved(
        self, office: Office, changes: list[tuple[str, str]], current: str, is_same: bool
    ) -> None:
        run = office.history.add({ADA: ACCEPTED, GRACE: PENDING})
        plans: Any = office.history.state.plans
        for old, new in changes:
            plans._note_change(run, {"why": "erased", "old_sha256": old, "new_sha256": new})
        assert is_descended(office.history.state, run, "a", current) is is_same

    def test_a_run_whose_plan_is_gone_does_not_count(self, office: Office) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: PENDING})
        shutil.rmtree(office.history.state.plans.folder(run) / "plan")
        with pytest.raises(ApprovalMissing, match="its file was changed") as missing:
            office.check(office.asks(plan_for(ADA, GRACE)), run)
        assert "from a backup" in str(missing.value.fix)

    def test_a_person_who_may_not_approve_any_more_does_not_count(self, office: Office) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: PENDING})
        office.allow("bob")
        with pytest.raises(ApprovalMissing, match="has 0 of 1 approvals"):
            office.check(office.asks(plan_for(ADA, GRACE)), run)

    def test_a_retry_counts_as_approved_with_the_settings_of_its_run(self, office: Office) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: REJECTED})
        office.history.state.ledger.finish_run(run.run_id)
        retry = retry_plan(office.history.state, run, statuses=["rejected"], reasons=["blocked"])
        assert office.check(retry) == office.history.state.approvals.of_run(run)
        pace = replace(retry.manifest.pace, rate="9/s", per_s=9.0)
        with pytest.raises(ApprovalMissing, match="other settings than were approved: pace"):
            office.check(retry.with_manifest(replace(retry.manifest, pace=pace)))

    def test_a_retry_that_was_cut_off_goes_on_with_the_settings_of_its_run(self, office: Office) -> None:
        run = office.run({ADA: ACCEPTED, GRACE: REJECTED})
        state = office.history.state
        state.ledger.finish_run(run.run_id)
        plan = retry_plan(state, run, statuses=["rejected"], reasons=["blocked"])
        sizes: Any = {"rows": 1, "messages": 1, "created_at_ms": office.history.now_ms + 1}
        retry = replace(run, run_id="again", retry_of=run.run_id, plan_hash=plan.hash, **sizes)
        state.plans.save(retry, plan)
        state.ledger.create_run(retry)
        (approved,) = state.approvals.read()
        state.approvals.note_run(retry, RunApproval(approved, state.plan(retry).manifest.parquet_sha256))
        assert office.check(plan, retry) == state.approvals.of_run(retry)
        office.edit_manifest(retry, limits={"max_messages": 9})
        with pytest.raises(ApprovalMissing, match="the plan of run again is not the one that was approved"):
            office.check(plan, retry)
