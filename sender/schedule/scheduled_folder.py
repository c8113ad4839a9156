"""The campaigns of a folder that have a schedule, as their files are now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from pathlib import Path

from sender.campaign import safe_yaml
from sender.campaign.cron_ticks import Ticks
from sender.campaign.load import load_campaign
from sender.campaign.model import Campaign
from sender.core.errors import InputError, SenderError
from sender.core.folder_defaults import find_folder_defaults
from sender.state.ledger import RunKind
from sender.state.open import folders_above

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class ScheduledCampaign:
    """A campaign file with a `schedule`. `zone` is the name of its zone, `late_s` how late it may begin.

    `kind` is that of the runs that its times start.
    """

    file: Path
    name: str
    kind: RunKind
    ticks: Ticks
    zone: str
    late_s: float
    edition: str

    @property
    def schedule(self) -> str:
        """The expression with its zone: `0 9 * * mon America/New_York`."""
        return f"{self.ticks.expression} {self.zone}"


@dataclass(frozen=True, slots=True)
class FolderContent:
    """The campaigns of a folder by their names, and what is wrong with files that may be some, by file."""

    campaigns: dict[str, ScheduledCampaign] = field(default_factory=dict)
    faults: dict[Path, SenderError] = field(default_factory=dict)


def mark_folder(folder: Path) -> object:
    """Return a value that changes with the folder's files; None where it cannot be read."""
    try:
        entries = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return None
    return tuple((name, entry.st_mtime_ns, entry.st_size, entry.st_ino) for name, entry in entries)


def read_folder(folder: Path, state_dir: Path | str) -> FolderContent:
    """Return the scheduled campaigns in `folder`. Raises InputError where there is no such folder."""
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), fix="name the folder with your campaigns")
    content = FolderContent()
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES):
        try:
            campaign = read_scheduled(file, state_dir)
        except SenderError as error:
            content.faults[file] = error
            continue
        if campaign is None:
            continue
        other = content.campaigns.setdefault(campaign.name, campaign)
        if other is not campaign:
            content.faults[file] = InputError(
                f"{campaign.name} is the name of {other.file.name}, too, and campaigns are recognised by their names",
                where=str(file),
                fix="give one of them another `name`",
            )
    return content


def read_scheduled(file: Path, state_dir: Path | str) -> ScheduledCampaign | None:
    """Return the campaign in `file`; None where it has no schedule. Raises InputError."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    if "schedule" not in text:
        return None
    try:
        keys = safe_yaml.load(text).value
    except safe_yaml.YamlError:
        keys = {"schedule": None}  # a campaign that somebody is writing, perhaps: loading it says what is wrong
    if not isinstance(keys, dict) or "schedule" not in keys:
        return None
    defaults = find_folder_defaults(file.parent.resolve(), Path.cwd(), *folders_above(state_dir))
    return scheduled(load_campaign(file, defaults=defaults.file if defaults else None), file)


def next_starts(
    folder: str | Path, count: int = 5, *, now: datetime | None = None
) -> list[tuple[ScheduledCampaign, datetime]]:
    """Return the next `count` starts of the campaigns in `folder`, each with its time in its own zone.

    `now` is a time with a zone (default: the time it is). Files that cannot be read as campaigns are left out. Raises
    InputError where there is no such folder.
    """
    content = read_folder(Path(folder), Path(folder))
    moment = now or datetime.now(UTC)
    streams = [_starts(campaign, moment) for campaign in content.campaigns.values()]
    return [(content.campaigns[name], tick) for _, name, tick in islice(merge(*streams), count)]


def _starts(campaign: ScheduledCampaign, now: datetime) -> Iterator[tuple[float, str, datetime]]:
    """Yield the campaign's starts in a form that can be sorted."""
    for tick in campaign.ticks.after(now):
        yield tick.timestamp(), campaign.name, tick


def scheduled(campaign: Campaign, file: Path) -> ScheduledCampaign | None:
    """Return the campaign as it is scheduled; None where it is not."""
    spec = campaign.schedule
    if spec is None:
        return None
    late = spec.late or campaign.late
    kind = RunKind.of(campaign.provider, rehearse=False)
    return ScheduledCampaign(file, campaign.name, kind, spec.ticks, spec.zone, late.seconds, campaign.edition)
