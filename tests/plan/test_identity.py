"""The identity of a plan: what counts as the same messages, whatever wrote the plan and whatever it says of them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputsChanged, RunComplete
from sender.plan import manifest as manifest_module
from sender.plan import plan as plan_file
from sender.plan.hashes import MessageHash
from sender.plan.plan import Plan
from sender.planning.retry import retry_plan
from sender.sandbox.credentials import environment
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from sender.state.ledger import Run
from sender.state.state_dir import StateDir
from sender.suppression.suppression_list import SuppressionList

FROM = "+12025550100"
ADA = {"phone": "202-555-0101", "name": "Ada", "note": "vip", "url": "https://e.example/a.png", "ttl": "60"}
GRACE = {"phone": "202-555-0102", "name": "Grace", "note": "", "url": "https://e.example/g.png", "ttl": "70"}
BAD = {"phone": "1234", "name": "Nobody", "note": "", "url": "", "ttl": "60"}
ADA_AGAIN = {**ADA, "note": "twice"}
ROWS = [ADA, BAD, GRACE, ADA_AGAIN]


def plan(
    rows: list[dict[str, Any]] | None = None,
    *,
    state: Path | None = None,
    limit: int | None = None,
    only_new: bool = False,
    **keys: Any,
) -> Plan:
    given = {"provider": "sandbox", "from_": FROM, "message": "Hi {{ name }}", "name": "t", "rate": "none"}
    people = {"rows": ROWS if rows is None else rows, "default_region": "US"}
    return sender.build_plan(
        sender.load_campaign(**{**given, "recipients": people, **keys}), limit=limit, state_dir=state, only_new=only_new
    )


# -- the encoding, which never changes ---------------------------------------------------------------------------------

MESSAGES = pl.DataFrame(
    {
        "to": ["+12025550101", "+12025550102", "+12025550103"],
        "from_number": [FROM, None, FROM],
        "body": ['Hi "Ada",\nall well? é 👋', None, ""],
        "media": [[], ["https://e.example/a.png", "https://e.example/b.png"], None],
        "fields": [None, '{"subject":"A b","validity_period":60}', None],
    },
    schema_overrides={"media": pl.List(pl.String)},
)


def identity(messages: pl.DataFrame, fields: dict[str, Any] | None = None) -> str:
    digest = MessageHash(fields or {})
    digest.update(messages)
    return digest.hexdigest()


def test_golden_identities() -> None:
    """If one of these changes, every campaign ever sent looks unsent."""
    assert identity(MESSAGES[:0]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert identity(MESSAGES) == "92606de61faa03110287fa71947faaa4092d25fa3921e3a2c08961f9e1cd75a6"
    fields = {"status_callback": "https://hooks.example.com/status?token=1234", "max_price": 0.05, "tags": ("b", "a")}
    assert identity(MESSAGES, fields) == "63f41970bd0cf0cdcadf3f1269ff3a5287bb6c1a52cc7fe7e34832d9772e90e7"


def test_the_encoding_in_plain_python() -> None:
    common = {"max_price": 0.05, "status_callback": "https://hooks.example.com/é"}
    lines = []
    for to, from_number, body, media, own in MESSAGES.iter_rows():
        fields = {**common, **json.loads(own or "{}")}
        text = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        said = text.decode() if len(text) <= 64 else hashlib.sha256(text).hexdigest()
        values = (to, from_number or "", body or "", " ".join(media or ()), said)
        lines.append(",".join('"' + value.replace('"', '""') + '"' for value in values) + "\n")
    assert identity(MESSAGES, common) == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("at", range(MESSAGES.height + 1))
def test_blocks_make_no_difference(at: int) -> None:
    digest = MessageHash({"validity_period": 60})
    digest.update(MESSAGES[:at])
    digest.update(MESSAGES[at:])
    assert digest.hexdigest() == identity(MESSAGES, {"validity_period": 60})


def test_where_a_field_is_written_makes_no_difference() -> None:
    own = MESSAGES.with_columns(fields=pl.lit('{"validity_period":60,"subject":"é"}'))
    assert identity(own) == identity(MESSAGES.with_columns(fields=None), {"subject": "é", "validity_period": 60})


# -- what is the same and what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: plan([ADA, {**BAD, "name": "Somebody"}, GRACE, ADA_AGAIN]), id="a-skipped-row-s-name"),
        pytest.param(lambda: plan([ADA, {**BAD, "phone": "12"}, GRACE, ADA_AGAIN]), id="a-skipped-row-s-number"),
        pytest.param(lambda: plan([ADA, GRACE]), id="without-the-skipped-rows"),
        pytest.param(lambda: plan([BAD, *ROWS]), id="with-more-skipped-rows"),
        pytest.param(lambda: plan([{**ADA, "note": "a cell no message shows"}, *ROWS[1:]]), id="a-cell-no-message-shows"),
        pytest.param(lambda: plan([{**ADA, "phone": "+1 (202) 555-0101"}, *ROWS[1:]]), id="the-number-as-it-is-written"),
        pytest.param(lambda: plan([{**ADA, "phone": "2025550101.0"}, *ROWS[1:]]), id="a-repair"),
        pytest.param(lambda: plan(rate="1/s", concurrency=2), id="pace"),
        pytest.param(lambda: plan(limit=2), id="a-limit-nobody-is-beyond"),
    ],
)  # fmt: skip
def test_the_same_messages(other: Callable[[], Plan]) -> None:
    made = other()
    assert made.identity == plan().identity
    assert made.hash == plan().hash or made.frame.rows() != plan().frame.rows()


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        pytest.param(ROWS, {"message": "Hello {{ name }}"}, id="body"),
        pytest.param([{**ADA, "name": "Ada L."}, *ROWS[1:]], {}, id="a-cell-of-the-body"),
        pytest.param(ROWS, {"from_": "+12025550109"}, id="from"),
        pytest.param(ROWS, {"message": {"body": "Hi {{ name }}", "media": "{{ url }}"}}, id="media"),
        pytest.param(ROWS, {"status_callback": "https://e.example/x"}, id="a-field-of-all"),
        pytest.param(ROWS, {"sandbox": {"dialect": "twilio"}, "validity_period": "{{ ttl }}"}, id="a-field-of-each"),
        pytest.param([GRACE, BAD, ADA, ADA_AGAIN], {}, id="order"),
        pytest.param([{**ADA, "phone": "202-555-0103"}, *ROWS[1:]], {}, id="recipient"),
        pytest.param([*ROWS, {**ADA, "phone": "202-555-0103"}], {}, id="one-more"),
        pytest.param([ADA], {}, id="one-less"),
        pytest.param(ROWS, {"dedupe": "none"}, id="one-twice"),
    ],
)
def test_other_messages(rows: list[dict[str, Any]], keys: dict[str, Any]) -> None:
    assert plan(rows, **keys).identity != plan().identity
    assert plan(rows, **keys).hash != plan().hash


def test_a_limit_makes_other_messages() -> None:
    assert plan(limit=1).identity == plan([ADA]).identity != plan().identity


def test_the_suppression_list_makes_no_difference(tmp_path: Path) -> None:
    """Else a STOP after the run would make the same campaign look unsent; also where a limit counts those held back."""
    people = [ADA, BAD, GRACE, *({**ADA, "phone": f"202-555-010{n}"} for n in (3, 4, 5))]
    before = {limit: plan(people, limit=limit) for limit in (None, 3)}
    with SuppressionList.open(tmp_path) as listed:
        listed.add(["+12025550102"])
    for limit, free in before.items():
        held = plan(people, state=tmp_path, limit=limit)
        assert "suppressed" in held.frame["reason"].to_list()
        assert held.identity == free.identity
        assert stored_in_format_3(held, tmp_path / f"stored-{limit}").identity == free.identity


# -- plans that were stored by an earlier version ----------------------------------------------------------------------


def to_format_3(directory: Path, **changed: Any) -> None:
    """Rewrites the manifest in `directory` as format 3 had it, without an identity."""
    values = json.loads((directory / "manifest.json").read_text(encoding="utf-8")) | changed | {"format": 3}
    del values["sha256"], values["identity"]
    values["sha256"] = manifest_module._checksum(values)
    (directory / "manifest.json").write_text(json.dumps(values), encoding="utf-8")


def stored_in_format_3(made: Plan, directory: Path) -> Plan:
    made.write(directory)
    to_format_3(directory)
    opened = Plan.open(directory)
    assert opened.manifest.format == 3
    assert opened.manifest.identity is None
    return opened


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"message": {"body": "Hi {{ name }}", "media": "{{ url }}"}},
        {"sandbox": {"dialect": "twilio"}, "validity_period": "{{ ttl }}", "status_callback": "https://e.example/x"},
        {"recipients": {"rows": ROWS, "default_region": "US", "skip_types": ["toll_free"]}},
    ],
    ids=["plain", "media", "fields", "skipped-types"],
)
def test_a_plan_of_format_3_has_the_same_identity(tmp_path: Path, keys: dict[str, Any]) -> None:
    made = plan(**keys)
    old = stored_in_format_3(made, tmp_path / "old")
    assert old.identity == made.identity
    again = old.write(tmp_path / "new")
    assert (again.manifest.format, again.manifest.identity, again.hash) == (8, made.identity, made.hash)
    assert Plan.open(tmp_path / "new").identity == made.identity


def test_a_large_plan_of_format_3_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan([{**ADA, "phone": f"202-555-01{n:02}"} for n in range(80)], limit=70)
    old = stored_in_format_3(made, tmp_path / "old")
    monkeypatch.setattr("sender.plan.hashes.ROW_GROUP", 7)
    assert old.identity == made.identity


def test_other_formats_are_refused(tmp_path: Path) -> None:
    made = plan().write(tmp_path / "p")
    values = json.loads((tmp_path / "p" / "manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "p" / "manifest.json").write_text(json.dumps(values | {"format": 9}), encoding="utf-8")
    with pytest.raises(sender.SenderError, match="format 9; this version reads 3 to 8"):
        Plan.open(tmp_path / "p")
    assert made.manifest.format == 8


# -- runs --------------------------------------------------------------------------------------------------------------

REWORDED = {"detail": "said otherwise", "region": "somewhere", "repair": "put right", "number_type": "a kind"}


def by_another_version(state: Path, run: Run, *, format_: int) -> None:
    """Rewrites the run's stored plan as a version had it that worded every sentence in another way."""
    folder = state / "runs" / run.run_id / "plan"
    rows = pl.read_parquet(folder / "plan.parquet")
    if format_ < 5:
        rows = rows.drop("zone", "zone_source", "places")
    if format_ < 6:
        rows = rows.drop("variant")
    if format_ < 7:
        rows = rows.drop("links")
    says = [pl.when(pl.col(name).is_not_null()).then(pl.lit(text)).alias(name) for name, text in REWORDED.items()]
    rows.with_columns(says).write_parquet(folder / "plan.parquet")
    other = hashlib.sha256(b"another version's hash").hexdigest()
    changed = {"plan_hash": other, "parquet_sha256": plan_file._file_sha256(folder / "plan.parquet")}
    if format_ == 3:
        to_format_3(folder, **changed)
    else:
        manifest = replace(manifest_module.read_manifest(folder), **changed, format=format_)
        (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    with closing(sqlite3.connect(state / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("UPDATE run SET plan_hash = ? WHERE run_id = ?", (other, run.run_id))


@pytest.mark.parametrize("format_", [3, 4, 5, 6, 7])
def test_what_was_sent_is_known_however_its_sentences_read(tmp_path: Path, format_: int) -> None:
    first = sender.send(plan(), state_dir=tmp_path)
    by_another_version(tmp_path, first.run, format_=format_)
    for made in (plan(), plan([{**ADA, "note": "new"}, {**BAD, "name": "Renamed"}, GRACE])):
        for _ in range(2):  # the second time from what was noted
            with pytest.raises(RunComplete, match=f"has been sent: run {first.run.run_id}"):
                sender.send(made, state_dir=tmp_path)
    assert (tmp_path / "runs" / first.run.run_id / "identity.json").exists() == (format_ == 3)
    assert sender.send(plan(), state_dir=tmp_path, again=True).summary.accepted == 2
    assert sender.send(plan(message="Something else", edition="2"), state_dir=tmp_path).summary.accepted == 2


@pytest.mark.parametrize("format_", [3, 4, 5, 6, 7])
def test_what_was_begun_is_resumed_however_its_sentences_read(tmp_path: Path, format_: int) -> None:
    first = sender.send(plan(), state_dir=tmp_path, limit=1)
    assert first.summary.pending == 1
    by_another_version(tmp_path, first.run, format_=format_)
    changed = [ADA, {**BAD, "name": "Renamed"}, GRACE]
    with pytest.raises(InputsChanged):
        sender.send(plan(changed, message="Hello {{ name }}"), state_dir=tmp_path)
    second = sender.send(plan(changed), state_dir=tmp_path)
    assert second.run.run_id == first.run.run_id
    assert (second.summary.accepted, second.summary.pending) == (2, 0)


def test_another_release_of_the_zones_is_named_where_messages_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(name: str) -> str:
        return "2025.2" if name == "tzdata" else version(name)

    with monkeypatch.context() as patch:
        patch.setattr("sender.planning.build._version", older)
        first = sender.send(plan(), state_dir=tmp_path, limit=1)
    with pytest.raises(InputsChanged, match=f"tzdata 2025.2 became {version('tzdata')}"):
        sender.send(plan(message="Hello {{ name }}"), state_dir=tmp_path)
    assert sender.send(plan(), state_dir=tmp_path).run.run_id == first.run.run_id, "alone it refuses nothing"


def test_another_provider_or_dialect_is_a_change_to_what_was_begun(tmp_path: Path) -> None:
    sender.send(plan(), state_dir=tmp_path, limit=1)
    other = plan(sandbox={"dialect": "telnyx"})
    assert other.identity == plan().identity
    with pytest.raises(InputsChanged, match="dialect: signalwire became telnyx"):
        sender.send(other, state_dir=tmp_path)
    assert sender.send(plan(), state_dir=tmp_path).summary.accepted == 2
    assert sender.send(other, state_dir=tmp_path).summary.accepted == 2, "a simulation has reached nobody"


def test_whoever_has_read_it_has_read_it_through_any_provider(tmp_path: Path) -> None:
    with embedded(Options()) as url:
        env = environment(url)
        sender.send(plan(provider="twilio"), state_dir=tmp_path, env=env, limit=1, init_state=True)
        with pytest.raises(InputsChanged, match="provider: twilio became telnyx"):
            sender.send(plan(provider="telnyx"), state_dir=tmp_path, env=env)
        assert sender.send(plan(provider="twilio"), state_dir=tmp_path, env=env).summary.accepted == 2
        with pytest.raises(RunComplete):
            sender.send(plan(provider="telnyx"), state_dir=tmp_path, env=env)


# What changes the texts of a list that has been sent: the cells of two people, and the text.
READ_ANEW = {
    "separate accents": ([{**ADA, "name": "Andre\u0301"}, GRACE], "Hi {{ name }}"),
    "a placeholder": ([{**ADA, "name": "NULL"}, GRACE], "Hi {{ name }}"),
    "a service number": ([{**ADA, "phone": "800-555-0101"}, GRACE], "Hi {{ name }}"),
}


@pytest.mark.parametrize(("people", "message"), READ_ANEW.values(), ids=READ_ANEW)
def test_whom_an_older_version_texted_is_not_texted_again(
    people: list[dict[str, Any]], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The texts, and so the identity, differ from those of the version before; the people are the same."""
    with embedded(Options()) as url:
        env = environment(url)
        given: dict[str, Any] = {"provider": "twilio", "message": message}
        with monkeypatch.context() as older:
            older.setattr("sender.recipients.readers.table.compose_columns", lambda cells: (cells, 0))
            older.setattr("sender.phone.HELD_TYPES", ())
            rows = {"rows": people, "default_region": "US", "placeholders": "none"}
            old = plan(people, **given, recipients=rows)
        begun = tmp_path / "begun"
        first = sender.send(old, state_dir=begun, env=env, limit=1, init_state=True)
        assert first.summary.accepted == 1
        new = plan(people, **given)
        assert new.identity != old.identity
        with pytest.raises(InputsChanged):
            sender.send(new, state_dir=begun, env=env)
        sent = tmp_path / "sent"
        assert sender.send(old, state_dir=sent, env=env, init_state=True).summary.accepted == 2
        with pytest.raises(RunComplete, match="had t, or may have had it"):
            sender.send(new, state_dir=sent, env=env)
        left = plan(people, **given, only_new=True, state=sent)
        assert left.manifest.messages == 0


def test_a_provider_that_refused_everybody_may_be_left_for_another(tmp_path: Path) -> None:
    people = [{**ADA, "phone": "202-555-0190"}]  # the sandbox: no valid number
    with embedded(Options()) as url:
        env = environment(url)
        begun = sender.send(plan(people, provider="twilio"), state_dir=tmp_path, env=env, init_state=True)
        assert begun.summary.accepted == 0
        with pytest.raises(RunComplete):
            sender.send(plan(people, provider="twilio"), state_dir=tmp_path, env=env)
        begun = sender.send(plan(people, provider="telnyx"), state_dir=tmp_path, env=env)
        assert begun.run.provider == "telnyx"


def test_a_run_whose_plan_was_deleted_is_known_by_the_plan_s_hash_alone(tmp_path: Path) -> None:
    first = sender.send(plan(), state_dir=tmp_path)
    for file in (tmp_path / "runs" / first.run.run_id / "plan").iterdir():
        file.unlink()
    with pytest.raises(RunComplete):
        sender.send(plan(), state_dir=tmp_path)
    with pytest.raises(RunComplete, match=f"the plan of run {first.run.run_id} is gone"):
        sender.send(plan([ADA, GRACE]), state_dir=tmp_path)
    assert sender.send(plan([ADA, GRACE]), state_dir=tmp_path, again=True).summary.accepted == 2


def test_a_retry_that_was_begun_is_known_by_its_messages(tmp_path: Path) -> None:
    people = [{**ADA, "phone": f"202-555-01{n}"} for n in ("01", "90", "90")]
    first = sender.send(plan(people, dedupe="none"), state_dir=tmp_path)
    with StateDir(tmp_path) as state:
        again = retry_plan(state, first.run, reasons=["invalid_number"])
    assert (again.manifest.messages, again.manifest.format) == (2, 8)
    begun = sender.send(again, state_dir=tmp_path, limit=1)
    by_another_version(tmp_path, begun.run, format_=3)
    finished = sender.send(again, state_dir=tmp_path)
    assert finished.run.run_id == begun.run.run_id
    with pytest.raises(RunComplete):
        sender.send(again, state_dir=tmp_path)
