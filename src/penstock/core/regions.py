"""Regions: where replicas and callers are, and how far they are from each other [G1].

A round trip that is given holds; else it is guessed from coordinates. Who is in no known region counts as near.
"""

from collections.abc import Iterator
from math import asin, cos, radians, sin, sqrt
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from penstock.base.nouns import Region
from penstock.base.units import Seconds

EARTH_KM = 6371.0088
"""Mean radius."""
KM_S, FIXED_S = 0.01509e-3, 18.9e-3
"""A round trip takes so long a kilometre of great circle, and so much more: fitted to the 306 pairs of 18 AWS regions
that cloudping.co measured up to 2024-04-19. Half of these pairs are within 20 % of it, nine of ten within 45 %."""


def _doc(text: str) -> Meta:
    return Meta(description=text)


class RegionsSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where replicas and clients are. Replicas say theirs by `region`."""

    places: Annotated[dict[str, Region], Meta(min_length=1, description="the regions, by name")]
    here: Annotated[
        str,
        _doc(
            "where this gateway stands: calls whose region nobody tells come from here, and distances to replicas are"
            " measured from here; empty: nowhere, so that a call is as far from a replica as its own region"
        ),
    ] = ""
    round_trips: Annotated[
        dict[str, dict[str, Seconds]],
        _doc(
            "region -> region -> time there and back, the same both ways unless both are given; left out: guessed from"
            " coordinates"
        ),
    ] = field(default_factory=dict)
    inside_s: Annotated[Seconds, _doc("a round trip within a region")] = field(default=0.003, name="inside")
    header: Annotated[
        Literal["proxies", "anybody", "nobody"],
        _doc(
            "whose x-penstock-region is believed: those of `trusted_proxies`, everybody's, or nobody's; a name that is"
            " not among `places` counts as none"
        ),
    ] = "proxies"


def great_circle_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Between two places, each latitude and longitude in degrees: the haversine formula on a sphere."""
    south, west, north, east = (radians(degrees) for degrees in (*one, *other))
    half = sin((north - south) / 2) ** 2 + cos(south) * cos(north) * sin((east - west) / 2) ** 2
    return 2 * EARTH_KM * asin(min(1.0, sqrt(half)))


def guessed_s(one: Region, other: Region) -> float | None:
    """A round trip, from coordinates; None: one of the two has none."""
    if one.latitude is None or one.longitude is None or other.latitude is None or other.longitude is None:
        return None
    return FIXED_S + KM_S * great_circle_km((one.latitude, one.longitude), (other.latitude, other.longitude))


def round_trip_s(spec: RegionsSpec, one: str, other: str) -> float | None:
    """Between two regions; None: nothing says how long it takes."""
    if one == other or one not in spec.places or other not in spec.places:
        return spec.inside_s
    given = spec.round_trips.get(one, {}).get(other, spec.round_trips.get(other, {}).get(one))
    return guessed_s(spec.places[one], spec.places[other]) if given is None else given


def problems(spec: RegionsSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """What cannot be: fields, and what is wrong with them."""
    known = f"the places are {', '.join(spec.places)}"
    if spec.here and spec.here not in spec.places:
        yield ("here",), f"there is no region {spec.here!r}: {known}"
    for one, row in spec.round_trips.items():
        if one not in spec.places:
            yield ("round_trips", one), f"there is no such region: {known}"
        for other in row:
            if other not in spec.places:
                yield ("round_trips", one, other), f"there is no such region: {known}"
    for name, place in spec.places.items():
        if (place.latitude is None) != (place.longitude is None):
            yield ("places", name), "found one of `latitude` and `longitude`, expected both or none"
    names = list(spec.places)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            if round_trip_s(spec, one, other) is None:
                yield ("round_trips",), f"nothing says how far {one} is from {other}: give it, or coordinates of both"


class Atlas:
    """Round trips in milliseconds, looked up by name."""

    __slots__ = ("_rows", "near_ms", "spec")

    def __init__(self, spec: RegionsSpec) -> None:
        self.spec = spec
        self.near_ms = spec.inside_s * 1e3
        """To and from who is in no known region."""
        self._rows: dict[str, dict[str, float]] = {
            one: {other: 1e3 * (round_trip_s(spec, one, other) or 0.0) for other in spec.places} for one in spec.places
        }

    def origin(self, region: str) -> str:
        """Where a call comes from, if it says so; else here."""
        return region if region in self._rows else self.spec.here

    def row(self, origin: str) -> dict[str, float]:
        """How far it is from there to each region; empty: it is no known place."""
        return self._rows.get(origin, _NOWHERE)


_NOWHERE: dict[str, float] = {}
