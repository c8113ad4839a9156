"""twilio (PyPI) against the sandbox."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta

from cases import ACCOUNT, FROM, MEDIA, SERVICE, TO, Cases, refused, url
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

case = Cases()


def connect(secret: str = "5a" * 16) -> Client:
    client = Client(ACCOUNT, secret)
    client.api.base_url = client.lookups.base_url = url()
    return client


client = connect()
TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)


def create(to: str = TO, **fields):
    return client.messages.create(to=to, **{"from_": FROM, "body": "Hi", **fields})


@case
def create_and_fetch():
    made = create()
    assert made.sid.startswith("SM"), made.sid
    found = client.messages(made.sid).fetch()
    assert (found.sid, found.to, found.from_, found.body) == (made.sid, TO, FROM, "Hi")
    assert (found.num_segments, found.status, found.price) == ("1", "delivered", "-0.01000")
    assert found.date_created.tzinfo is not None


@case
def list_filters():
    made = create(to="+12025550131", from_="+12025550132")
    for fits in (
        {"to": "+12025550131"},
        {"from_": "+12025550132"},
        {"to": "+12025550131", "date_sent": TODAY},
        {"to": "+12025550131", "date_sent": datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)},
        {"to": "+12025550131", "date_sent_after": TODAY},
        {"to": "+12025550131", "date_sent_before": TODAY},
        {"to": "+12025550131", "date_sent_before": TODAY + DAY},
        {"to": "+12025550131", "date_sent_after": datetime.now(UTC) - timedelta(hours=1)},
    ):
        assert [one.sid for one in client.messages.list(**fits)] == [made.sid], fits
    for empty in (
        {"to": "+12025550133"},
        {"to": "+12025550131", "date_sent": TODAY - DAY},
        {"to": "+12025550131", "date_sent": TODAY + DAY},
        {"to": "+12025550131", "date_sent_before": TODAY - DAY},
        {"to": "+12025550131", "date_sent_after": TODAY + DAY},
    ):
        assert client.messages.list(**empty) == [], empty
    assert isinstance(TODAY, date)


@case
def pages():
    made = [create(to="+12025550134").sid for _ in range(5)]
    assert [one.sid for one in client.messages.list(to="+12025550134", page_size=2)] == made[::-1]
    first = client.messages.page(to="+12025550134", page_size=2)
    second = first.next_page()
    assert [one.sid for one in second] == made[1:3][::-1]
    assert [one.sid for one in second.previous_page()] == made[3:][::-1]
    assert second.next_page().next_page() is None


@case
def media():
    made = create(media_url=MEDIA)
    assert made.sid.startswith("MM"), made.sid
    listed = made.media.list()
    assert [one.content_type for one in listed] == ["image/png", "application/pdf"]
    assert listed[1].fetch().parent_sid == made.sid


@case
def errors():
    error = refused(lambda: create(to="+12025550190"), TwilioRestException)
    assert (error.status, error.code) == (400, 21211)
    error = refused(lambda: client.messages("SM" + "0" * 32).fetch(), TwilioRestException)
    assert (error.status, error.code) == (404, 20404)
    assert refused(lambda: create(body="", media_url=[]), TwilioRestException).code == 21602


@case
def auth():
    error = refused(lambda: connect("bad-token").messages.create(to=TO, from_=FROM, body="Hi"), TwilioRestException)
    assert (error.status, error.code) == (401, 20003)
    key = Client("SK" + "5a" * 16, "secret", account_sid=ACCOUNT)
    key.api.base_url = url()
    assert key.messages.list(limit=1)


@case
def too_many_requests():
    error = refused(lambda: create(to="+12025550195"), TwilioRestException)
    assert (error.status, error.code) == (429, 20429)
    assert create(to="+12025550195").sid


@case
def schedule_and_cancel():
    at = datetime.now(UTC) + timedelta(hours=1)
    made = create(from_=None, messaging_service_sid=SERVICE, schedule_type="fixed", send_at=at)
    assert made.status == "scheduled", made.status
    assert made.update(status="canceled").status == "canceled"
    assert client.messages(made.sid).fetch().status == "canceled"
    assert refused(lambda: made.update(status="canceled"), TwilioRestException).status == 400
    assert refused(lambda: create().update(status="canceled"), TwilioRestException).status == 400


@case
def messaging_service():
    made = create(from_=None, messaging_service_sid=SERVICE)
    assert client.messages(made.sid).fetch().from_ == "+12125550142"
    assert made.messaging_service_sid == SERVICE


@case
def lookups():
    look_up = client.lookups.v2.phone_numbers("+12025550192").fetch
    found = look_up(fields="line_type_intelligence,reassigned_number", last_verified_date="20260501")
    assert (found.valid, found.country_code, found.national_format) == (True, "US", "(202) 555-0192")
    assert found.line_type_intelligence["type"] == "landline"
    assert found.reassigned_number["is_number_reassigned"] == "no"
    unknown = client.lookups.v2.phone_numbers("+12025550190").fetch()
    assert (unknown.valid, unknown.validation_errors, unknown.line_type_intelligence) == (
        False,
        ["INVALID_BUT_POSSIBLE"],
        None,
    )
    nobody = connect("bad-token").lookups.v2.phone_numbers("+12025550101")
    assert refused(nobody.fetch, TwilioRestException).status == 401


@case
def signatures_of_ours():
    """What our receiver takes for genuine is what the SDK takes for genuine."""
    vectors = json.loads(os.environ["SIGNATURES"])
    assert len(vectors) >= 4
    for key, signed, fields, algorithm, signature in vectors:
        assert RequestValidator(key).validate(signed, fields, signature, algorithm), signed


case.run("twilio")
