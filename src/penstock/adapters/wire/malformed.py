"""The one exception of the wire: bytes of a client that cannot be taken, and the row of the refusal table for it."""

from penstock.base.errors import Label


class Malformed(ValueError):
    """What a client sent cannot be understood or passes a limit. `label` is a row of `base.errors.TABLE`."""

    def __init__(self, label: Label, detail: str = "", param: str | None = None) -> None:
        super().__init__(detail or label)
        self.label: Label = label
        self.detail = detail
        self.param = param
