"""What people give to `penstock keys`: options for a key's settings, and what their texts mean."""

from typing import Annotated, Any, get_args

import typer

from penstock.base.nouns import Priority, Tier
from penstock.base.units import parse_seconds
from penstock.config.files import mapping_of
from penstock.config.key_orders import terms_of
from penstock.config.key_store import end_of, moment
from penstock.config.mistakes import did_you_mean
from penstock.core.limits.spec import AllowanceSpec

Expires = Annotated[str | None, typer.Option(help="Until when it holds: 30d, 12h, 2027-03-31 or a time.")]
Tenant = Annotated[str | None, typer.Option(help="Whose it is; else a tenant of the key's own name.")]
TierName = Annotated[str | None, typer.Option(help=f"One of {', '.join(get_args(Tier))}.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model that it may use; repeat it.")]
Limits = Annotated[str | None, typer.Option(help="Its own, like 'requests_per_minute: 20, budget_per_day: 5'.")]
Ceiling = Annotated[str | None, typer.Option(help="Highest priority that its calls get.")]


def terms_given(
    now_s: float, tenant: str | None, tier: str | None, model: list[str] | None, expires: str | None,
    limits: str | None, priority_ceiling: str | None,
) -> dict[str, Any]:  # fmt: skip
    """What of a key's settings is given, as the keys file has it. Raises typer's BadParameter, and ConfigError."""
    given = {
        "tenant": tenant, "tier": one_of(tier, get_args(Tier), "--tier"), "models": model or None,
        "limits": None if limits is None else limits_given(limits), "expires": end_given(expires, now_s),
        "priority_ceiling": one_of(priority_ceiling, get_args(Priority), "--priority-ceiling"),
    }  # fmt: skip
    return terms_of({name: value for name, value in given.items() if value is not None}, now_s)


def limits_given(text: str) -> dict[str, Any]:
    """A block of limits as the configuration has it, units as numbers. Raises ConfigError with all mistakes."""
    block = text if text.lstrip().startswith("{") else f"{{{text}}}"
    read, mistakes = mapping_of(block, "--limits", AllowanceSpec, "limits, like requests_per_minute: 20")
    mistakes.raise_if_any()
    return read


def end_given(text: str | None, now_s: float) -> str | None:
    """Until when, as the keys file has it. Raises typer's BadParameter."""
    try:
        return None if text is None else end_of(text, now_s)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--expires") from None


def overlap_given_s(text: str, now_s: float) -> float:
    """A span, with its unit. Raises typer's BadParameter."""
    try:
        overlap_s = parse_seconds(text)
        if overlap_s and not text.strip()[-1:].isalpha():
            raise ValueError(f"{text!r} has no unit: write it like 24h or 30m")
        if overlap_s < 0:
            raise ValueError(f"{text!r} is less than nothing")
        moment(now_s + overlap_s)
    except (ValueError, OverflowError, OSError) as wrong:
        raise typer.BadParameter(str(wrong), param_hint="--overlap") from None
    return overlap_s


def one_of(text: str | None, known: tuple[str, ...], option: str) -> str | None:
    """One of the words that an option takes. Raises typer's BadParameter."""
    if text is not None and text not in known:
        hint = did_you_mean(text, known)
        expected = f"{text!r} is none of {', '.join(known)}"
        raise typer.BadParameter(f"{expected}; {hint}" if hint else expected, param_hint=option)
    return text
