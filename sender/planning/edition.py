"""Which edition of a campaign a plan is: what tells today's reminder from yesterday's."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from sender import templating
from sender.campaign.model import Campaign
from sender.campaign.values import is_template
from sender.core.errors import CampaignError

_NAMES = ("date", "week", "month")


def find_edition(campaign: Campaign, *, begins: datetime | None = None) -> str:
    """Return the edition of the campaign when it begins at `begins`, a time with a zone (None: now).

    With a `schedule` it is that of the last time of the schedule, whoever starts it: its template is filled in with
    that time, and without one the time itself is the edition. Raises CampaignError or TemplateError.
    """
    now = begins or datetime.now().astimezone()
    if campaign.schedule is not None:
        ticks = campaign.schedule.ticks
        now = ticks.last(now) or now.astimezone(ticks.zone)
        return edition_at(campaign.edition, now)
    return render_edition(campaign.edition, now=now)


def edition_at(text: str, tick: datetime) -> str:
    """Return the edition of a campaign at a time of its schedule: that time itself where `text` is blank.

    It is named as `2026-11-30T09:00-05:00`. Raises CampaignError or TemplateError.
    """
    return render_edition(text, now=tick) if text else tick.isoformat(timespec="minutes")


def render_edition(text: str, *, now: datetime | None = None) -> str:
    """The campaign's `edition` with its template filled in; `now` is local time (default: this machine's).

    A template may use `date` (2026-11-28), `week` (2026-W48) and `month` (2026-11). Raises CampaignError or
    TemplateError.
    """
    if not is_template(text):
        return text
    now = now or datetime.now().astimezone()
    year, week, _ = now.isocalendar()
    cells = pl.DataFrame({"date": [f"{now:%Y-%m-%d}"], "week": [f"{year}-W{week:02}"], "month": [f"{now:%Y-%m}"]})
    names = {name: name for name in _NAMES}
    template = templating.compile_template(text, where="edition")
    template.check(names, _NAMES)
    rendered = templating.render(template, cells, names).row(0, named=True)
    if rendered["text"] is None or not rendered["text"].strip():
        raise CampaignError(
            f"the edition is blank: {rendered['detail'] or 'its template has no text'}",
            where="edition",
            fix="use `date`, `week` or `month`, for example `edition: '{{ week }}'`",
        )
    return str(rendered["text"]).strip()
