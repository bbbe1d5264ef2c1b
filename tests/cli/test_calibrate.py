"""`penstock calibrate`: measurements in, a model for scenarios out, with its error told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.base.errors import ConfigError
from penstock.cli.main import app
from penstock.engine.modelled import read_modelled
from tests.engine.test_measured import HEAD, points


@pytest.mark.slow
def test_measurements_become_a_model(tmp_path: Path) -> None:
    """The file can be read back, has the engine's own limits, and the error is told."""
    rows = "".join(",".join(map(str, point)) + "\n" for point in points() if point.concurrency < 16)
    (tmp_path / "mine.csv").write_text(HEAD + rows)
    out = tmp_path / "mine.json"
    done = CliRunner().invoke(
        app, ["calibrate", str(tmp_path / "mine.csv"), "--out", str(out), "--max-num-seqs", "9", "--kv-blocks", "500"]
    )
    assert done.exit_code == 0, done.output
    made = read_modelled(out.read_bytes())
    assert (made.about, made.max_num_seqs, made.kv_blocks) == ("mine", 9, 500)
    assert made.held_back is not None
    assert f"Expected error: {made.held_back.told()}" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [(HEAD, "found 0 settings, expected 3 or more"), ("a,b\n", "it has no concurrency"), (None, "No such file")],
)
def test_mistakes_are_told_with_the_file(tmp_path: Path, text: str | None, said: str) -> None:
    """An empty file, another one, none."""
    file = tmp_path / "mine.csv"
    if text is not None:
        file.write_text(text)
    done = CliRunner().invoke(app, ["calibrate", str(file), "--out", str(tmp_path / "out.json")])
    assert isinstance(done.exception, ConfigError)
    assert said in done.exception.mistakes[0]
    assert "mine.csv" in done.exception.mistakes[0]
