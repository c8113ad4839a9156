"""telnyx (PyPI) against the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import telnyx
from cases import FROM, MEDIA, PROFILE, TO, Cases, refused, url

case = Cases()
client = telnyx.Telnyx(api_key="KEY-sandbox", base_url=f"{url()}/v2", max_retries=0)
NOW = datetime.now(UTC)


def send(to: str = TO, **fields):
    return client.messages.send(to=to, **{"from_": FROM, "text": "Hi", **fields}).data


@case
def create_and_fetch():
    made = send()
    found = client.messages.retrieve(made.id).data
    assert (found.id, found.text, found.parts, found.direction) == (made.id, "Hi", 1, "outbound")
    assert (found.to[0].phone_number, found.to[0].status, found.from_.phone_number) == (TO, "delivered", FROM)
    assert found.cost.amount == "0.0100"


@case
def list_filters():
    made = send(to="+12025550131")

    def found(**filters):
        filters = {"record_type": "messaging", "cld": "+12025550131", **filters}
        return [record.uuid for record in client.detail_records.list(filter=filters)]

    assert found() == found(direction="outbound") == found(cli=FROM) == found(status="delivered") == [made.id]
    assert found(date_range="today") == found(created_at={"gte": NOW.date().isoformat()}) == [made.id]
    assert found(date_range="yesterday") == found(direction="inbound") == found(cli="+12025550133") == []
    assert found(created_at={"lt": NOW.date().isoformat()}) == []
    assert found(cld={"ends_with": "0131"}) == [made.id]


@case
def pages():
    made = [send(to="+12025550134").id for _ in range(5)]
    filters = {"record_type": "messaging", "cld": "+12025550134"}
    first = client.detail_records.list(filter=filters, page_size=2, sort=["created_at"])
    assert first.meta.total_results == 5
    assert [record.uuid for record in first] == made  # every page


@case
def media():
    found = client.messages.retrieve(send(media_urls=MEDIA, subject="Hello").id).data
    assert (found.type, [one.url for one in found.media], found.subject) == ("MMS", MEDIA, "Hello")


@case
def errors():
    error = refused(lambda: send(to="+12025550190"), telnyx.BadRequestError)
    assert (error.status_code, error.body["errors"][0]["code"]) == (400, "40310")
    assert refused(lambda: client.messages.retrieve(PROFILE), telnyx.NotFoundError).status_code == 404
    assert refused(lambda: send(from_=None), telnyx.UnprocessableEntityError).status_code == 422


@case
def auth():
    other = telnyx.Telnyx(api_key="KEY_bad", base_url=f"{url()}/v2", max_retries=0)
    error = refused(lambda: other.messages.send(to=TO, from_=FROM, text="Hi"), telnyx.AuthenticationError)
    assert error.status_code == 401


@case
def too_many_requests():
    error = refused(lambda: send(to="+12025550195"), telnyx.RateLimitError)
    assert (error.status_code, error.response.headers["retry-after"]) == (429, "1")
    assert send(to="+12025550195").id
    assert client.with_options(max_retries=2).messages.send(to="+12025550195", from_=FROM, text="Hi").data.id


@case
def schedule_and_cancel():
    at = NOW + timedelta(hours=1)
    for made in (send(send_at=at), client.messages.schedule(to=TO, from_=FROM, text="Hi", send_at=at).data):
        assert client.messages.cancel_scheduled(made.id).to[0].status == "cancelled"
        error = refused(lambda made=made: client.messages.cancel_scheduled(made.id), telnyx.PermissionDeniedError)
        assert error.status_code == 403


@case
def number_pool():
    made = client.messages.send_number_pool(to=TO, messaging_profile_id=PROFILE, text="Hi").data
    assert (made.from_.phone_number, made.messaging_profile_id) == ("+12125550142", PROFILE)
    made = client.messages.send_long_code(to=TO, from_=FROM, text="Hi").data
    assert made.from_.phone_number == FROM
    made = client.messages.send_short_code(to=TO, from_="12345", text="Hi").data
    assert made.from_.phone_number == "12345"
    made = client.messages.send_with_alphanumeric_sender(
        to="+447700900123", from_="ACME", messaging_profile_id=PROFILE, text="Hi"
    ).data
    assert made.id


@case
def encodings():
    assert (send(encoding="ucs2", text="x" * 71).parts, send(encoding="gsm7").encoding) == (2, "GSM-7")
    assert refused(lambda: send(encoding="gsm7", text="ç"), telnyx.BadRequestError).status_code == 400


@case
def opt_outs():
    assert list(client.messaging_optouts.list(filter={"messaging_profile_id": PROFILE})) == []


@case
def lookups():
    found = client.number_lookup.retrieve("+12025550192", type="carrier").data
    assert (found.phone_number, found.country_code, found.carrier.type) == ("+12025550192", "US", "fixed line")
    assert client.number_lookup.retrieve("+12025550187").data.portability.line_type == "voip"
    error = refused(lambda: client.number_lookup.retrieve("+1"), telnyx.UnprocessableEntityError)
    assert error.status_code == 422


case.run("telnyx")
