"""What may be asked for of a key: settings from plain data, with all mistakes at once, and secrets that nobody has."""

import re
from typing import Any

import pytest

from penstock.base.errors import ConfigError
from penstock.config.key_orders import (
    SETTINGS,
    key_of,
    new_secret,
    plain,
    rotation_of,
    settings_of,
    shown,
    terms_of,
)
from penstock.config.keys import sha256
from penstock.config.schema import KeyConf
from penstock.core.limits.spec import AllowanceSpec

NOW_S = 1_800_000_000.0
NOW = "2027-01-15T08:00:00Z"


def mistakes(tree: Any) -> list[str]:
    """What is wrong with these settings."""
    with pytest.raises(ConfigError) as wrong:
        terms_of(tree, NOW_S)
    return wrong.value.mistakes


def test_settings_are_those_that_keys_of_the_configuration_have() -> None:
    """All but name and secret, so that nothing can be set there that cannot be changed here."""
    assert set(SETTINGS) == set(KeyConf.__struct_fields__) - {"name", "key", "hash"}


def test_what_is_named_is_read_with_its_units() -> None:
    """Spans and limits as people write them; null stays, and what is not named is not there."""
    terms = terms_of(
        {"models": ["a"], "tenant": None, "expires": "30d", "limits": {"requests_per_day": 3, "wait": "1m"}}, NOW_S
    )
    assert terms == {
        "models": ("a",), "tenant": None, "expires": "2027-02-14T08:00:00Z",
        "limits": AllowanceSpec(requests_per_day=3, wait_s=60.0),
    }  # fmt: skip
    assert terms_of({}, NOW_S) == {}


@pytest.mark.parametrize(
    "tree, words",
    [
        ({"tenent": "a"}, ["tenent: there is no such field here; did you mean `tenant`?"]),
        (
            {"tier": "gold", "models": "a"},
            ["tier: found 'gold', expected one of enterprise, free", "models: found 'a', expected a"],
        ),
        ({"limits": {"requests_per_minute": 0}}, ["limits.requests_per_minute: found the number 0"]),
        ({"expires": "soon"}, ["expires: 'soon' is none of these: 30d or 12h from now"]),
        ({"expires": "2020-01-01"}, ["expires: '2020-01-01' has passed"]),
        ({"hash": "sha256:" + "a" * 64}, ["hash: there is no such field here"]),
        ([], ["the key: found a list, expected a mapping with any of tenant, tier"]),
        (None, ["the key: found nothing, expected a mapping"]),
    ],
)
def test_all_mistakes_are_told_at_once(tree: Any, words: list[str]) -> None:
    """Field, value, what is expected, and the way out."""
    found = mistakes(tree)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_a_rotation_has_an_overlap() -> None:
    """A day, unless another one is said; less than nothing is none."""
    assert rotation_of({}, NOW_S).overlap_s == 86_400.0
    how = rotation_of({"overlap": "30m", "expires": "1h"}, NOW_S)
    assert (how.overlap_s, how.expires) == (1800.0, "2027-01-15T09:00:00Z")
    for tree in ({"overlap": -1}, {"overlap": "soon"}, {"overlap": None}, {"overlaps": 1}, 5):
        with pytest.raises(ConfigError):
            rotation_of(tree, NOW_S)


@pytest.mark.parametrize("name", ["", "a" * 129, "a\nb", "\x00", "\ud800", None, 5, ["a"]])
def test_a_name_is_a_line_that_people_read(name: Any) -> None:
    """What could not be shown, or would write lines of its own into a log, is no name."""
    with pytest.raises(ConfigError, match=r"^name: found .*, expected 1 to 128 printable"):
        key_of(name, new_secret(), NOW_S, {})


def test_a_key_holds_a_hash_of_its_secret() -> None:
    """Never the secret, and no two secrets are the same; JSON of it has neither."""
    secret = new_secret()
    assert re.fullmatch(r"sk-penstock-[\w-]{43}", secret)
    assert secret != new_secret()
    key = key_of("a", secret, NOW_S, {"tier": "free"})
    assert [(one.hash, one.made) for one in key.hashes] == [(f"sha256:{sha256(secret)}", NOW)]
    assert plain(key) == {"made": NOW, "tier": "free"}
    assert settings_of(key) == {name: "free" if name == "tier" else None for name in SETTINGS}


def test_of_limits_those_that_there_are_are_shown() -> None:
    """Not the twelve that there are not."""
    assert shown({"limits": AllowanceSpec(concurrency=2), "tier": None}) == {"limits": {"concurrency": 2}, "tier": None}
