"""signalwire-sdk (PyPI), SignalWire's own API, against the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cases import FROM, MEDIA, PROJECT, TO, Cases, refused, url
from signalwire.rest import RestClient
from signalwire.rest._base import SignalWireRestError

case = Cases()


def connect(token: str = "PT-sandbox") -> RestClient:
    return RestClient(project=PROJECT, token=token, host=url().removeprefix("http://"))


client = connect()
NOW = datetime.now(UTC)


def create(to: str = TO, **fields):
    return client.messages.create(to=to, **{"from_": FROM, "body": "Hi", **fields})


@case
def create_and_fetch():
    made = create(custom_variables={"order": "17"})
    found = client.logs.messages.get(made["id"])
    assert (found["id"], found["to"], found["from"], found["status"]) == (made["id"], TO, FROM, "delivered")
    assert (made["body"], made["kind"], made["number_of_segments"]) == ("Hi", "sms", 1)


@case
def list_filters():
    made = create()["id"]
    for fits in (
        {"created_on": NOW.date().isoformat()},
        {"created_after": (NOW - timedelta(hours=1)).isoformat()},
        {"created_before": (NOW + timedelta(hours=1)).isoformat()},
    ):
        assert made in [one["id"] for one in client.logs.messages.list(**fits)["data"]], fits
    for empty in (
        {"created_on": (NOW + timedelta(days=1)).date().isoformat()},
        {"created_after": (NOW + timedelta(hours=1)).isoformat()},
    ):
        assert client.logs.messages.list(**empty)["data"] == [], empty


@case
def pages():
    made = [create()["id"] for _ in range(5)]
    found = [one["id"] for one in client.logs.messages.paginate(page_size=2)]
    assert found[:5] == made[::-1]
    assert len(found) == len(set(found))


@case
def media():
    made = create(media=MEDIA)
    assert (made["kind"], made["media"]) == ("mms", MEDIA)


@case
def errors():
    error = refused(lambda: create(to="+12025550190"), SignalWireRestError)
    assert (error.status_code, error.body["errors"][0]["code"]) == (422, "invalid_to_number")
    assert refused(lambda: client.logs.messages.get(PROJECT), SignalWireRestError).status_code == 404


@case
def auth():
    error = refused(lambda: connect("bad-token").messages.create(to=TO, from_=FROM, body="Hi"), SignalWireRestError)
    assert (error.status_code, error.body) == (401, {"error": "Unauthorized"})


@case
def too_many_requests():
    error = refused(lambda: create(to="+12025550195"), SignalWireRestError)
    assert error.status_code == 429
    assert create(to="+12025550195")["id"]


@case
def lookups():
    found = client.lookup.phone_number("+12025550192", include="carrier")
    assert (found["e164"], found["carrier"]["linetype"], found["timezones"]) == (
        "+12025550192",
        "landline",
        ["America/New_York"],
    )
    assert "carrier" not in client.lookup.phone_number("+12025550101")


case.run("signalwire-sdk")
