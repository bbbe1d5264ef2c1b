"""What a pool that forecasts expects, how far such forecasts were off, and what it makes of them."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from penstock.base.units import show_seconds
from penstock.core.scale.foresight import ForecastView


def said_of(view: ForecastView) -> str:
    """In a line or two: whether it acts and why, and what was asked last."""
    head = "Forecast" if view.acts else "Forecast (not acted upon, the metrics alone decide)"
    calls = "nothing known" if view.calls is None else f"{view.calls:.3g} calls at once"
    rate = "" if view.calls_per_s is None else f", {view.calls_per_s:.3g} a second"
    thumb = "" if view.thumb is None else f"; by the rule of thumb {view.thumb} replicas"
    start = "not seen yet" if view.startup_s is None else show_seconds(view.startup_s)
    last = f"In the last five minutes: {calls}{rate}{thumb}. {view.windows} windows known. A start takes: {start}."
    return f"{head}: {view.why}.\n{last}"


def outlook_of(view: ForecastView) -> Table:
    """A line for each time that is looked at."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("expected in")
    for name in ("calls at once", "off by", "off, staying as it is", "nine of ten needed", "checked"):
        table.add_column(name, justify="right")
    table.add_column("pattern")
    for one in view.ahead:
        ahead = f"{show_seconds(one.ahead_s)} (a start)" if one.name == "start" else show_seconds(one.ahead_s)
        table.add_row(
            ahead, f"{one.calls:.3g}", f"{one.error:.0%}", f"{one.error_as_is:.0%}", f"x {one.short:.2f}",
            str(one.checked), one.pattern,
        )  # fmt: skip
    return table
