"""Attempts: what readers of turns remember of them until their call is over.

Tables by call, and from the second attempt on by call and number: the first ones are nearly all, and a key that is a
text alone costs half.
"""

from typing import TypeVar

Name = str | tuple[str, int]
Value = TypeVar("Value")


def taken(table: dict[Name, Value], call: str) -> list[Value]:
    """Take all that stands there of a call out, the first attempt first."""
    values: list[Value] = []
    found = table.pop(call, None)
    while found is not None:
        values.append(found)
        found = table.pop((call, len(values) + 1), None)
    return values


def moved(table: dict[Name, Value], call: str, by: str) -> None:
    """A call's attempts are another's from now on."""
    for number, value in enumerate(taken(table, call), 1):
        table[by if number == 1 else (by, number)] = value
