"""Words that embeddings hardly tell from their opposites, negations, units and numbers as they are written in English.

Data for `marks`. What is not in here is not noticed there; in other languages only digits, units, quotes and names are.
"""

from typing import Final

_PAIRS: Final = """
enable/disable activate/deactivate start/stop begin/end open/close lock/unlock add/remove install/uninstall
upgrade/downgrade upload/download increase/decrease import/export encrypt/decrypt encode/decode compress/decompress
connect/disconnect attach/detach mount/unmount subscribe/unsubscribe follow/unfollow block/unblock login/logout
allow/deny accept/reject approve/refuse include/exclude show/hide push/pull send/receive read/write input/output
buy/sell borrow/lend win/lose gain/lose raise/lower rise/fall expand/collapse merge/split
before/after above/below inside/outside indoor/outdoor minimum/maximum min/max first/last oldest/newest old/new
early/late earliest/latest high/low higher/lower highest/lowest more/less most/least best/worst better/worse
cheap/expensive cheapest/dearest fast/slow faster/slower fastest/slowest long/short longer/shorter longest/shortest
large/small larger/smaller largest/smallest big/little hot/cold warm/cool wet/dry hard/soft light/heavy
public/private internal/external local/remote manual/automatic active/inactive valid/invalid legal/illegal safe/unsafe
healthy/unhealthy possible/impossible visible/invisible mutable/immutable synchronous/asynchronous sync/async
ascending/descending positive/negative even/odd true/false advantage/disadvantage pro/con benefit/drawback
success/failure debit/credit income/expense profit/loss deposit/withdraw employer/employee buyer/seller tenant/landlord
mother/father wife/husband male/female sunrise/sunset summer/winter morning/evening day/night
north/south east/west left/right front/back top/bottom forward/backward incoming/outgoing client/server
acute/chronic agonist/antagonist cause/cure symptom/treatment past/future parent/child ancestor/descendant
singular/plural formal/informal domestic/foreign liquid/solid freeze/melt charge/discharge inhale/exhale
"""

_UNITS: Final = """
km kilometer kilometre; mi mile; m meter metre; cm centimeter centimetre; mm millimeter millimetre; ft foot feet;
in inch; yd yard; kg kilogram kilo; g gram; mg milligram; lb pound lbs; oz ounce; l liter litre; ml milliliter;
gal gallon; c celsius centigrade; f fahrenheit; kelvin; s second sec; min minute; h hour hourly hr; d day daily;
w week weekly; month monthly; y year yearly annual annually; usd dollar; eur euro; gbp; jpy yen; chf franc;
kb kilobyte; mb megabyte; gb gigabyte; tb terabyte; kib; mib; gib; bit; byte; percent; kw kilowatt; kwh; mph; kmh; knot;
hz hertz; khz; mhz; ghz; ms millisecond; quarter quarterly; decade; century
"""

_NUMBERS: Final = (
    "zero two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen"
    " half twice double triple"
)

NEGATIONS: Final = frozenset(
    "not no never without cannot neither nor none nobody nothing nowhere except unless unable avoid prevent lack"
    " lacks missing cant dont doesnt isnt wont didnt shouldnt".split()
)
"""Words that turn a question round; and all that end in n't."""

_VALUES: Final = [0, *range(2, 21), 30, 40, 50, 60, 70, 80, 90, 100, 1000, 10**6, 10**9, 12, "1/2", 2, 2, 3]
NUMBERS: Final = {word: str(value) for word, value in zip(_NUMBERS.split(), _VALUES, strict=True)}
"""Words for numbers. (`one` is mostly no number.)"""

UNITS: Final = {
    form: names[0]
    for names in (line.split() for line in _UNITS.split(";"))
    for name in names
    for form in (name, f"{name}s", f"{name}es")
}
"""Words for units, as one name each."""

SYMBOLS: Final = {"%": "percent", "$": "usd", "€": "eur", "£": "gbp", "¥": "jpy"}


def stem(word: str) -> str:
    """A word of the tables in any of its forms, as one."""
    for end in ("ing", "ed", "es", "s", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            word = word[: -len(end)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _poles() -> dict[str, tuple[tuple[int, bool], ...]]:
    found: dict[str, tuple[tuple[int, bool], ...]] = {}
    for number, pair in enumerate(_PAIRS.split()):
        for word, side in zip(pair.split("/"), (True, False), strict=True):
            found[stem(word)] = (*found.get(stem(word), ()), (number, side))
    return found


POLES: Final = _poles()
"""Stem -> the pairs of opposites that it belongs to, and on which side."""
