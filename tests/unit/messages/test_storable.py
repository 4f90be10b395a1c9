from __future__ import annotations

from datetime import date

import pytest

from messages.limits import check_json


@pytest.mark.parametrize("value", ["\0", "\ud800", float("nan"), date(2022, 1, 1), b"x", {"a": ["\0"]}, {"\udfff": 1}])
def test_what_cannot_be_stored(value: object) -> None:
    """What JSON or the database cannot hold is found wherever it is."""
    with pytest.raises(ValueError):
        check_json(value)


def test_what_can_be_stored() -> None:
    """All that JSON has can be stored, to a depth of 32."""
    value: object = "deep"
    for _ in range(31):
        value = [value]

    check_json({"a": value, "b": [1, 1.5, None, True, "ü"]})

    with pytest.raises(ValueError):
        check_json({"a": [value]})
