"""The files `sender init` writes. A test runs them."""

from __future__ import annotations

CAMPAIGN = """\
# yaml-language-server: $schema=campaign.schema.json
name: hello
provider: sandbox          # a simulator; then signalwire, signalwire-compat, telnyx or twilio
from: "+12025550100"       # a number, a short code, an alphanumeric id; or a list of numbers

recipients:
  file: recipients.csv     # CSV, TSV, XLSX, Parquet, JSONL or YAML
  default_region: US       # of numbers without a country code

message:
  template: message.j2     # or  body: "Hi {{ first_name }}"
  max_segments: 2          # longer ones are skipped and reported

dedupe: first              # the first row of a repeated number is kept
rate: 10/s                 # or 240/min, auto (the provider's documented limit), none
"""

MESSAGE = """\
Hi {{ first_name | default("there") }}, your table at Luna is booked for {{ day }}. Reply STOP to opt out.
"""

RECIPIENTS = """\
First Name,Phone,Day
Ada,(202) 555-0101,Friday
Grace,+1 202-555-0102,Saturday
,202.555.0103,Sunday
Ada again,+12025550101,Friday
Bob,555-01,Monday
"""

FILES = {"campaign.yaml": CAMPAIGN, "message.j2": MESSAGE, "recipients.csv": RECIPIENTS}
