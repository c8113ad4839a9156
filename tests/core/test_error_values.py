"""An error on its way to another process: every class comes back as itself, with its three texts."""

from __future__ import annotations

import json

import pytest

from sender.core import errors
from sender.core.errors import SenderError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SenderError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_it_was(kind: type[SenderError]) -> None:
    error = kind("it broke", where="people.csv, line 3", fix="fix the line")
    back = SenderError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert type(back) is kind
    assert (back.what, back.where, back.fix, str(back)) == (error.what, error.where, error.fix, str(error))
