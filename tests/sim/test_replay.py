"""Replay: what came out comes out again, and where it does not, the first place is told."""

from pathlib import Path

import pytest

from penstock import __version__
from penstock.core.effects import Effect
from penstock.core.events import Event, Woke
from penstock.drive.journal import FileSink, Gap, Header, Turn, header, parts, read_placed
from penstock.sim.replay import Lines, NotReplayable, Replayed, replay
from tests.helpers.journals import write_story


def lines(path: Path) -> Lines:
    """All lines of a journal."""
    return (line for part in parts(path) for line in read_placed(part, Event, Effect))


def replayed(path: Path, version: str = __version__) -> Replayed:
    """What becomes of it."""
    return replay(lines(path), version)


@pytest.mark.parametrize("seed", range(3))
def test_a_story_comes_out_again(tmp_path: Path, seed: int) -> None:
    """All facts, told to a new Gate, give all orders."""
    turns = write_story(tmp_path / "journal", seed)
    found = replayed(tmp_path / "journal")
    assert found.difference is None
    assert (found.facts, found.orders) == (len(turns), sum(len(orders) for _, _, orders in turns))
    assert (found.skipped, len(found.lives), found.lives[0].began) == (0, 1, turns[0][0])


@pytest.mark.slow
def test_several_lives_and_parts_come_out_again(tmp_path: Path) -> None:
    """Three processes wrote one journal that has rotated often: each begins with a new Gate of its own seed."""
    path = tmp_path / "journal"
    turns = [write_story(path, seed, max_bytes=20_000, calls=20) for seed in (1, 2, 3)]
    assert len(parts(path)) > 3
    found = replayed(path)
    assert found.difference is None
    assert [life.facts for life in found.lives] == [len(each) for each in turns]
    assert found.skipped == 0


@pytest.mark.slow
def test_a_life_whose_beginning_is_gone_is_passed_over(tmp_path: Path) -> None:
    """Where rotation has removed the first part, the rest of that life cannot be replayed; the next one can."""
    path = tmp_path / "journal"
    write_story(path, 1, max_bytes=20_000, calls=20)
    parts(path)[0].unlink()
    later = write_story(path, 2, calls=20)
    found = replayed(path)
    assert found.difference is None
    assert [life.facts for life in found.lives] == [0, len(later)]
    assert found.skipped == found.lives[0].skipped > 50


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """Of a process that was killed while it wrote, everything but the half line is replayed."""
    path = tmp_path / "journal"
    turns = write_story(path, 1, calls=20)
    path.write_bytes(path.read_bytes()[:-20])
    found = replayed(path)
    assert (found.facts, found.difference) == (len(turns) - 1, None)


def test_nothing_behind_a_gap_is_replayed(tmp_path: Path) -> None:
    """What the disk was too slow for changed the Gate, nobody knows how: the facts after it are counted."""
    path = tmp_path / "journal"
    turns = write_story(path, 1, calls=20)
    rows = list(lines(path))
    place = rows[30][0]
    found = replay([*rows[:30], (place, Gap(5)), *rows[35:]], __version__)
    assert (found.facts, found.skipped, found.lives[0].missing) == (29, len(turns) - 34, 5)
    assert found.difference is None


def test_the_first_difference_is_told_with_its_place(tmp_path: Path) -> None:
    """An order that was not recorded so: file, line, fact, and both sides."""
    path = tmp_path / "journal"
    write_story(path, 1, calls=20)
    text = path.read_bytes().split(b"\n")
    at = next(number for number, line in enumerate(text) if b'"type":"Send"' in line)
    text[at] = text[at].replace(b'"attempt":1', b'"attempt":7')
    path.write_bytes(b"\n".join(text))
    found = replayed(path)
    assert found.difference is not None
    assert found.difference.place == f"{path}, line {at + 1}"
    assert found.facts == at - 1
    assert found.difference.recorded != found.difference.replayed


def test_another_seed_is_another_story(tmp_path: Path) -> None:
    """The header counts: with another seed the same facts lead elsewhere."""
    path = tmp_path / "journal"
    write_story(path, 1)
    path.write_bytes(path.read_bytes().replace(b'"seed":1,', b'"seed":2,', 1))
    assert replayed(path).difference is not None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"", "empty"),
        (b'[1.0,{"type":"Woke"},[]]\n', "line 1: a journal begins with a header"),
        (b'{"type":"Header","version":"0.0.1","seed":1,"spec":{}}\n', "written by Penstock 0.0.1, and this is"),
    ],
)
def test_what_cannot_be_replayed_is_refused(tmp_path: Path, written: bytes, why: str) -> None:
    """No header, or another version's: decisions may have changed since."""
    path = tmp_path / "journal"
    path.write_bytes(written)
    with pytest.raises(NotReplayable, match=why):
        replayed(path)


def test_a_specification_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    """A strategy of an extension that is not installed here, for one."""
    path = tmp_path / "journal"
    sink = FileSink(path, header(__version__, 1, {"pools": [{"name": "p", "strategy": {"kind": "psychic"}}]}))
    sink.observe(1.0, Woke(), [])
    sink.close()
    with pytest.raises(NotReplayable, match="psychic"):
        replayed(path)


def test_lines_have_their_kinds(tmp_path: Path) -> None:
    """The sample that the tests above rest on is what a gateway writes: a header, then turns."""
    write_story(tmp_path / "journal", 1, calls=5)
    rows = [row for _, row in lines(tmp_path / "journal")]
    assert isinstance(rows[0], Header)
    assert all(isinstance(row, Turn) for row in rows[1:])
