"""Marks: what of a question an embedding hardly sees, and on which its answer depends: numbers, units, quoted texts,
negations, names, opposites, and what is turned into what. Pure: two texts in, why they differ out.

A static embedding is an average over words: it knows no order, and `enable` lies beside `disable`. Where two questions
differ in one of these, neither may have the other's answer, however similar they are. It is a guard, and no
understanding: what it does not know it lets pass.
"""

import re
from typing import Final, NamedTuple

from penstock.core.cache.opposites import NEGATIONS, NUMBERS, POLES, SYMBOLS, UNITS, stem

_QUOTED: Final = re.compile(r'"([^"]+)"|“([^”]+)”|`([^`]+)`|«([^»]+)»|(?:(?<=\s)|^)[\'‘]([^\'’]+)[\'’](?=\W|$)')
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,:/]\d+)*|[%$€£¥]|[+-]{1,2}(?=\d)|[#+]+(?!\d)")
_THOUSANDS: Final = re.compile(r",(?=\d{3}\b)")
_SENTENCE_ENDS: Final = re.compile(r"[.!?:]\s*$")
_SHORT: Final = 2
"""Letters of units such as m, in, kg."""
_TURNS: Final = frozenset({"to", "into", "from", "than", "by", "with", "over", "against", "for", "under"})
_ARTICLES: Final = frozenset({"a", "an", "the", "my", "your", "our", "his", "her", "its", "their"})
_NO_NAMES: Final = frozenset({"i", "i'm", "i'd", "i've", "i'll"})


class Marks(NamedTuple):
    """Of one question."""

    numbers: tuple[str, ...]
    units: tuple[str, ...]
    """Each once, in order of the alphabet."""
    quoted: tuple[str, ...]
    negated: bool
    names: tuple[str, ...]
    """In the order in which they stand there, in lower case."""
    poles: tuple[tuple[int, bool], ...]
    turns: tuple[tuple[str, str], ...]
    """Prepositions, and what follows them."""
    words: tuple[str, ...]


def marks_of(text: str) -> Marks:
    """A question's."""
    found = [(match.group(), match.start()) for match in _WORD.finditer(text)]
    words = [word.lower().replace("’", "'") for word, _ in found]
    numbers = [_THOUSANDS.sub("", word) if word[0].isdigit() else NUMBERS[word] for word in words if _is_number(word)]
    units = {_unit(word, words[at - 1] if at else "") for at, word in enumerate(words)} - {""}
    negations = sum(word in NEGATIONS or word.endswith("n't") for word in words)
    poles = {pole for word in words for pole in POLES.get(stem(word), ())}
    return Marks(
        tuple(numbers), tuple(sorted(units)), tuple(_quoted(text)), negations % 2 == 1,
        tuple(word.lower() for word, at in found if _is_name(word, text, at)),
        tuple(sorted(poles)), tuple(_turns(words)), tuple(words),
    )  # fmt: skip


def differs(one: Marks, other: Marks) -> str:
    """In what two questions differ that embeddings hardly see; empty: in nothing that is known here."""
    if one.numbers != other.numbers:
        return "numbers"
    if one.units != other.units:
        return "units"
    if one.quoted != other.quoted:
        return "quoted"
    if one.negated != other.negated:
        return "negation"
    if any(name not in other.words for name in one.names) or any(name not in one.words for name in other.names):
        return "names"
    if _opposed(one.poles, other.poles):
        return "opposites"
    if _swapped(one, other):
        return "order"
    return "word" if _one_word(one.words, other.words) else ""


def _is_number(word: str) -> bool:
    return word[0].isdigit() or word in NUMBERS


def _unit(word: str, before: str) -> str:
    """A short form is one only behind a number."""
    if len(word) <= _SHORT and word.isalpha() and not _is_number(before or " "):
        return ""
    return SYMBOLS.get(word) or UNITS.get(word, "")


def _quoted(text: str) -> list[str]:
    return [next(part for part in match.groups() if part is not None) for match in _QUOTED.finditer(text)]


def _is_name(word: str, text: str, at: int) -> bool:
    """It is written like one: a capital inside it, or in front and not at the beginning of a sentence."""
    if not word[0].isalpha() or word.lower().replace("’", "'") in _NO_NAMES:
        return False
    if any(letter.isupper() for letter in word[1:]):
        return True
    return word[0].isupper() and at > 0 and not _SENTENCE_ENDS.search(text, 0, at)


def _turns(words: list[str]) -> list[tuple[str, str]]:
    found = []
    for at, word in enumerate(words):
        if word in _TURNS:
            rest = [follower for follower in words[at + 1 : at + 3] if follower not in _ARTICLES]
            if rest:
                found.append((word, rest[0]))
    return found


def _opposed(one: tuple[tuple[int, bool], ...], other: tuple[tuple[int, bool], ...]) -> bool:
    """One has only one side of a pair, and the other only the other side."""
    return any(
        (pair, not side) in other and (pair, not side) not in one and (pair, side) not in other for pair, side in one
    )


def _swapped(one: Marks, other: Marks) -> bool:
    """The same words, in other roles."""
    if one.words != other.words and sorted(one.words) == sorted(other.words):
        return True
    if [name for name in one.names if name in other.names] != [name for name in other.names if name in one.names]:
        return True
    for turn, target in one.turns:
        for turn2, target2 in other.turns:
            if turn == turn2 and target != target2 and target in other.words and target2 in one.words:
                if (turn, target) not in other.turns and (turn, target2) not in one.turns:
                    return True
    return False


def _one_word(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """They are the same but for one word in the place of another: the same form, with another subject in it."""
    return len(one) == len(other) and sum(left != right for left, right in zip(one, other)) == 1
