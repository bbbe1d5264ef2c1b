"""placeholder"""
from msgspec import Struct
class Roofline(Struct, frozen=True, kw_only=True, tag="roofline", tag_field="kind", forbid_unknown_fields=True):
    x: int = 0
    def step_s(self, a: int, b: int, c: int, d: int = 0) -> float:
        return 1.0
    def growth_s(self, n: int) -> float:
        return 0.0
