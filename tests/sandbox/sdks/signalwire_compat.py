"""signalwire (PyPI), SignalWire's Compatibility API, against the sandbox: paths as the client has them, without /api/laml."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cases import FROM, GROUP, MEDIA, PROJECT, TO, Cases, refused, url
from signalwire.rest import Client
from twilio.base.exceptions import TwilioRestException

case = Cases()


def connect(token: str = "PT-sandbox") -> Client:
    client = Client(PROJECT, token, signalwire_space_url=url())
    client._api.base_url = url()  # the client itself always makes it https
    return client


client = connect()
TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)


def create(to: str = TO, **fields):
    return client.messages.create(to=to, **{"from_": FROM, "body": "Hi", **fields})


@case
def create_and_fetch():
    made = create()
    found = client.messages(made.sid).fetch()
    assert (found.sid, found.to, found.from_, found.body) == (made.sid, TO, FROM, "Hi")
    assert (found.num_segments, found.status, found.account_sid) == (1, "delivered", PROJECT)


@case
def list_filters():
    made = create(to="+12025550131", from_="+12025550132")
    for fits in (
        {"to": "+12025550131"},
        {"from_": "+12025550132"},
        {"to": "+12025550131", "date_sent": TODAY},
        {"to": "+12025550131", "date_sent_after": TODAY},
        {"to": "+12025550131", "date_sent_before": TODAY},
    ):
        assert [one.sid for one in client.messages.list(**fits)] == [made.sid], fits
    for empty in (
        {"to": "+12025550133"},
        {"to": "+12025550131", "date_sent": TODAY - DAY},
        {"to": "+12025550131", "date_sent_before": TODAY - DAY},
        {"to": "+12025550131", "date_sent_after": TODAY + DAY},
    ):
        assert client.messages.list(**empty) == [], empty


@case
def pages():
    made = [create(to="+12025550134").sid for _ in range(5)]
    assert [one.sid for one in client.messages.list(to="+12025550134", page_size=2)] == made[::-1]
    second = client.messages.page(to="+12025550134", page_size=2).next_page()
    assert [one.sid for one in second] == made[1:3][::-1]


@case
def media():
    made = create(media_url=MEDIA)
    listed = client.messages(made.sid).media.list()
    assert [one.content_type for one in listed] == ["image/png", "application/pdf"]
    assert client.messages(made.sid).media(listed[0].sid).fetch().parent_sid == made.sid


@case
def errors():
    error = refused(lambda: create(to="+12025550190"), TwilioRestException)
    assert (error.status, error.code) == (422, 21211)
    assert refused(lambda: client.messages(PROJECT).fetch(), TwilioRestException).status == 404


@case
def auth():
    error = refused(lambda: connect("bad-token").messages.create(to=TO, from_=FROM, body="Hi"), TwilioRestException)
    assert (error.status, error.code) == (401, 20003)


@case
def too_many_requests():
    error = refused(lambda: create(to="+12025550195"), TwilioRestException)
    assert (error.status, error.code) == (429, 20429)
    assert create(to="+12025550195").sid


@case
def number_group():
    made = create(from_=None, messaging_service_sid=GROUP)
    assert (made.from_, made.messaging_service_sid) == ("+12125550142", GROUP)


case.run("signalwire", "twilio")
