"""What a campaign with several routes is refused for, and when a dispatcher without work may rest."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import sender
from sender.core.errors import InputError, InputsChanged, ProviderUnreachable
from sender.sending.options import SendOptions
from sender.sending.route_board import Rest, RouteBoard
from sender.sending.routes_allowed import check_routes
from tests.state.run_history import ADA, RunHistory, plan_for


def by_routes(*names: str) -> sender.Plan:
    """A plan that is sent by these providers in turn; by one alone it has no routes."""
    plan = plan_for(ADA)
    routes = tuple({"provider": name} for name in names) if len(names) > 1 else ()
    return plan.with_manifest(replace(plan.manifest, provider=names[0], routes=routes))


TWO, TURNED, THREE = ("signalwire", "twilio"), ("twilio", "signalwire"), ("signalwire", "twilio", "telnyx")


@pytest.mark.parametrize(
    ("began", "now", "refusal"),
    [
        pytest.param(("twilio",), ("telnyx",), None, id="no routes in either"),
        pytest.param(TWO, TWO, None, id="the same"),
        pytest.param(TWO, TURNED, "the routes signalwire, twilio, .* the routes twilio, signalwire", id="turned round"),
        pytest.param(TWO, THREE, "names the routes signalwire, twilio, telnyx", id="one more"),
        pytest.param(TWO, ("signalwire",), "names signalwire alone", id="one alone"),
        pytest.param(("signalwire",), TWO, "began with signalwire alone", id="one alone until now"),
    ],
)
def test_a_run_goes_on_by_the_routes_it_began_with(
    history: RunHistory, began: tuple[str, ...], now: tuple[str, ...], refusal: str | None
) -> None:
    options = SendOptions(state_dir=history.folder)
    run_plan, plan = by_routes(*began), by_routes(*now)
    check_routes(history.state, plan, run_plan, replace(options, resume=True))
    check_routes(history.state, run_plan, run_plan, options)
    if refusal is None:
        check_routes(history.state, plan, run_plan, options)
    else:
        with pytest.raises(InputsChanged, match=refusal):
            check_routes(history.state, plan, run_plan, options)


def test_several_routes_are_sent_by_one_process_with_its_state_in_a_folder(history: RunHistory) -> None:
    plan, options = by_routes(*TWO), SendOptions(state_dir=history.folder)
    database: Any = SimpleNamespace(where="postgresql://localhost/campaigns")
    with pytest.raises(InputError, match="one process"):
        check_routes(history.state, plan, plan, replace(options, workers=2))
    with pytest.raises(InputError, match="in a database"):
        check_routes(database, plan, plan, options)
    one = by_routes("twilio")
    check_routes(database, one, one, options)


class TestResting:
    """No dispatcher ends before all have looked, and found nothing, since the last change."""

    def test_who_has_not_looked_yet_looks_first(self) -> None:
        seat = RouteBoard(1).serve(0, probe=False)
        assert seat.rest() is Rest.LOOK_AGAIN
        seat.claims()
        assert seat.rest() is Rest.OVER

    def test_all_have_to_rest(self) -> None:
        board = RouteBoard(2)
        seats = [board.serve(route, probe=False) for route in range(2)]
        for seat in seats:
            seat.claims()
        assert seats[0].rest() is Rest.WAIT
        seats[1].note_moves()
        assert [seat.rest() for seat in seats] == [Rest.LOOK_AGAIN, Rest.LOOK_AGAIN]
        for seat in seats:
            seat.claims()
        assert [seat.rest() for seat in seats] == [Rest.WAIT, Rest.OVER]
        assert board.done.is_set()
        assert seats[0].rest() is Rest.OVER

    def test_a_route_that_is_left_is_looked_after_by_the_others(self) -> None:
        board, woken = RouteBoard(2), []
        first, second = (board.serve(route, probe=False) for route in range(2))
        first.attach(lambda: woken.append("first"))
        first.claims()
        second.claims()
        assert first.rest() is Rest.WAIT
        board.leave(1, ProviderUnreachable("gone"))
        assert woken == ["first"]
        assert first.rest() is Rest.LOOK_AGAIN
        assert first.claims().also == (1,)
        assert first.rest() is Rest.OVER
