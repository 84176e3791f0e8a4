from __future__ import annotations

import pickle

import pytest

from platform_lib import errors
from platform_lib.errors import CorruptLog, HomeBusyError, HomeError, PlatformError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PlatformError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_the_way_between_processes(kind: type[PlatformError]) -> None:
    error = kind("cut short", where="/a/b.mf4", remedy="copy it again")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert (again.what, again.where, again.remedy) == ("cut short", "/a/b.mf4", "copy it again")
    assert str(again) == str(error)


def test_the_message_says_what_where_and_what_to_do() -> None:
    assert str(CorruptLog("cut short", where="x.mcap", remedy="copy it")) == "x.mcap: cut short. Remedy: copy it"
    assert str(CorruptLog("cut short")) == "cut short"


def test_a_busy_home_is_a_home_error() -> None:
    with pytest.raises(HomeError):
        raise HomeBusyError("taken")
