"""For the fault harness alone: in the processes of a worker, leases and graces are short, and a rule may be missing.

`SENDER_TEST_TIMES` is the lease and the grace beyond the longest request, in ms; `SENDER_TEST_MUTANT` names the rule.
`SENDER_TEST_CLOCK_S` is what the machine's clock is wrong by. `SENDER_TEST_DELAY_S` passes between a claim and its request, as on a machine that is far too slow.
"""

import asyncio
import math
import os
import sys
import time
from dataclasses import replace
from typing import Any

if skew_s := int(os.environ.get("SENDER_TEST_CLOCK_S", "0")):
    real_s, real_ns = time.time, time.time_ns
    time.time = lambda: real_s() + skew_s
    time.time_ns = lambda: real_ns() + skew_s * 1_000_000_000

if "SENDER_TEST_TIMES" in os.environ and any(".shifts." in word for word in sys.orig_argv):
    from sender.sending import dispatcher, producer
    from sender.state.postgres import settling

    producer.LEASE_MS, settling.LATE_MS = (int(text) for text in os.environ["SENDER_TEST_TIMES"].split(","))
    delay_s = float(os.environ.get("SENDER_TEST_DELAY_S", "0"))
    if delay_s:
        submit = dispatcher.Dispatcher._submit_request

        async def submit_late(self: Any, *args: Any) -> None:
            await asyncio.sleep(delay_s)
            await submit(self, *args)

        dispatcher.Dispatcher._submit_request = submit_late  # type: ignore[method-assign]
    mutant = os.environ.get("SENDER_TEST_MUTANT", "")
    if mutant == "no deadline":
        claim_next = producer.Producer._claim_next

        async def claim_for_ever(self: Any, limit: int) -> Any:
            return replace(await claim_next(self, limit), send_by_s=math.inf)

        producer.Producer._claim_next = claim_for_ever  # type: ignore[method-assign]
