"""From a text to settings: the whole way, many mistakes at once, and nothing but ConfigError."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.base.errors import ConfigError
from penstock.config.load import from_urls, load, load_file
from penstock.core.route.presets import STRATEGIES
from tests.config.support import POOL, load_text, mistakes_of
from tests.config.test_shape import TREES

ROOT = Path(__file__).resolve().parents[2]

THE_FILE = """\
listen: 127.0.0.1:8080
admin: 127.0.0.1:9090
keys: [{name: demo, key: sk-demo}]        # a plain key is hashed at load; `penstock check` warns and prints the hash
pools:
  - name: tiny
    models: [tiny]
    strategy: adaptive
    replicas:
      - {url: "http://127.0.0.1:18301", engine: vllm}
      - {url: "http://127.0.0.1:18302", engine: vllm}
"""

BROKEN = """\
listen: 0.0.0.0:80
quue: {}
timeouts: {connect: 30x}
keys: [{name: demo, key: 5}]
pools:
  - name: tiny
    name: tini
    strategy: adaptiv
    replica: []
    replicas:
      - {url: "127.0.0.1:18301", engine: vlm}
      - {engine: vllm, api_key: "${NOPE}"}
aliases: {a: 3}
"""


def test_the_example_of_the_readme_loads() -> None:
    """The shipped file is the promised one, word for word, and nothing more is needed."""
    assert (ROOT / "examples/penstock.yaml").read_text() == THE_FILE
    loaded = load_text(THE_FILE)
    assert (loaded.server.listen, loaded.server.admin) == (("127.0.0.1", 8080), ("127.0.0.1", 9090))
    assert list(loaded.server.key_names.values()) == ["demo"]
    assert loaded.gate.pools[0].models == ("tiny",)
    assert [(r.id, r.url, r.engine, r.pool) for r in loaded.replicas] == [
        ("127.0.0.1:18301", "http://127.0.0.1:18301", "vllm", "tiny"),
        ("127.0.0.1:18302", "http://127.0.0.1:18302", "vllm", "tiny"),
    ]
    assert set(loaded.access) == {"127.0.0.1:18301", "127.0.0.1:18302"}


def test_the_full_example_loads_without_warnings() -> None:
    """The file that shows every block can be used as it is."""
    loaded = load_file(ROOT / "examples/full.yaml", {})
    assert loaded.warnings == ()
    assert len(loaded.gate.pools) == 2


def test_the_full_example_shows_every_field() -> None:
    """No field is left out: each name stands in the file, if only in a comment."""
    text = (ROOT / "examples/full.yaml").read_text()
    schema = json.loads((ROOT / "docs/reference/penstock.schema.json").read_text())
    fields = {name for definition in schema["$defs"].values() for name in definition.get("properties", {})}
    of_strategies = {  # the page lists them
        field.encode_name for name in STRATEGIES.names() for field in msgspec.structs.fields(STRATEGIES.spec(name))
    }
    assert [name for name in sorted(fields - of_strategies) if f"{name}:" not in text] == []


def test_all_mistakes_come_at_once() -> None:
    """One look at the file is enough, and consequences are not told."""
    assert mistakes_of(BROKEN) == [
        "quue (line 2): there is no such field here; did you mean `queue`?",
        "timeouts.connect (line 3): found '30x', expected a duration: a number of seconds, or like 30s, 500ms, 1m30s",
        "keys[0].key (line 4): found a number (not shown), expected a text or null; write it in quotes",
        "pools[0].name (line 7): written twice (also in line 6)",
        "pools[0].strategy (line 8): found 'adaptiv', expected one of round_robin, random, weighted_round_robin, "
        "least_connections, least_loaded, least_response_time, p2c_peak_ewma, adaptive, adaptive_classic, prefix_aware, "
        "consistent_hash, gpu_aware, resource_based, regional, regional_classic; did you mean `adaptive`?",
        "pools[0].replica (line 9): there is no such field here; did you mean `replicas`?",
        "pools[0].replicas[0].engine (line 11): found 'vlm', expected one of auto, generic, llamacpp, ollama, sglang, tgi, triton, vllm; did you mean `vllm`?",
        "pools[0].replicas[0].url (line 11): found '127.0.0.1:18301', expected http(s)://host:port, "
        "a base path allowed; did you mean http://127.0.0.1:18301?",
        "pools[0].replicas[1].api_key (line 12): the environment has no NOPE; set it, or write ${NOPE:-default}",
        "pools[0].replicas[1].url (line 12): missing, expected http(s)://host:port, a base path allowed",
        "aliases.a (line 13): found the number 3, expected a text; write it in quotes",
    ]


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("a: [", "line 1, column 5: this is not YAML: expected the node content, but found '<stream end>' (while parsing a flow node)"),
        ("- a", "the file: found a list, expected a mapping of fields, like `pools:`"),
        ("hello", "the file: found 'hello', expected a mapping of fields, like `pools:`"),
        (POOL + "listen: !!str 127.0.0.1:1", "listen (line 2): found the tag 'tag:yaml.org,2002:str', expected a value without a tag"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_told(text: str, mistake: str) -> None:
    """A text that is something else altogether gets one mistake."""
    assert mistakes_of(text) == [mistake]


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    """Missing, binary and huge files end like any other mistake."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge").write_text("#" * ((1 << 20) + 1))
    told = []
    for name in ("missing", "binary", "huge"):
        with pytest.raises(ConfigError) as caught:
            load_file(tmp_path / name, {})
        told.append(str(caught.value).removeprefix(f"{tmp_path / name}: "))
    assert told == [
        "cannot be read (No such file or directory): name another, or begin with examples/penstock.yaml",
        "cannot be read (it is not text)",
        "cannot be read (more than 1,048,576 characters)",
    ]


def test_urls_make_one_pool() -> None:
    """Without a file: one pool over the URLs, models discovered."""
    loaded = from_urls(["http://a:1", "http://b:2/x/"])
    assert [(r.id, r.url, r.engine, r.pool, r.models) for r in loaded.replicas] == [
        ("a:1", "http://a:1", "generic", "default", {}),
        ("b:2/x", "http://b:2/x", "generic", "default", {}),
    ]
    assert loaded.gate.pools[0].models == ()
    assert loaded.server.open


def test_urls_take_addresses_and_overrides() -> None:
    """The command line and the environment say the rest."""
    loaded = from_urls(["http://a:1"], {"PENSTOCK__QUEUE__TIMEOUT": "3s"}, listen="127.0.0.1:0", admin="127.0.0.1:0")
    assert (loaded.server.listen[1], loaded.gate.pools[0].queue.timeout_s) == (0, 3.0)


def test_wrong_urls_are_told_in_flags() -> None:
    """There is no file to point into, so the flag is named."""
    with pytest.raises(ConfigError) as caught:
        from_urls(["http://a:1", "b:1", "http://a:1"], listen="x")
    assert caught.value.mistakes == [
        "--listen: found 'x', expected host:port, like 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses",
        "--url (2 of 3): found 'b:1', expected http(s)://host:port, a base path allowed; did you mean http://b:1?",
        "--url (3 of 3): the replica 'a:1' is in pool 'default' already; give one of them an `id`",
    ]
    with pytest.raises(ConfigError):
        from_urls([])


def settle(text: str, environment: dict[str, str]) -> None:
    """Load or ConfigError: anything else fails the test."""
    mistakes = ["none"]
    try:
        load(text, environment, lambda path: path)
    except ConfigError as error:
        mistakes = error.mistakes
    assert mistakes
    assert all("\n" not in mistake and len(mistake) < 2000 for mistake in mistakes)


POOLS = st.builds(
    lambda replicas, rest: {**rest, "pools": [{"name": "p", "replicas": replicas}]},
    st.lists(TREES, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["listen", "keys", "routes", "fallback"]), TREES),
)
TEXTS = st.text(alphabet=st.sampled_from("abk:-[]{}&*!'\"|>%#?,~<\n\t \\${}019.\u2028é"), max_size=60)
NAMES = st.sampled_from(
    "LISTEN POOLS POOLS__0__STRATEGY POOLS__0__STRATEGY__LOAD KEYS__0 TLS QUEUE__MAX __ POOLS__0__REPLICAS__0__URL".split()
)


@settings(max_examples=30)
@given(TREES | POOLS)
def test_any_tree_loads_or_is_a_config_error(tree: object) -> None:
    """Whatever YAML a file holds, the answer is settings or mistakes."""
    settle(json.dumps(tree), {})


@settings(max_examples=50)
@given(TEXTS)
@example('"\\xff\\U00110000"')
def test_any_text_loads_or_is_a_config_error(text: str) -> None:
    """The same for texts that are hardly YAML."""
    settle(text, {})


@settings(max_examples=30)
@given(st.text(max_size=30), NAMES)
def test_any_variable_loads_or_is_a_config_error(value: str, name: str) -> None:
    """The same for what the environment says."""
    settle(POOL + "listen: '${V}'", {"PENSTOCK__" + name: value, "V": value})


@pytest.mark.slow
@settings(max_examples=1500)
@given(TREES | POOLS, TEXTS, NAMES)
def test_anything_loads_or_is_a_config_error(tree: object, text: str, name: str) -> None:
    """The same for all together, longer."""
    settle(text, {})
    settle(json.dumps(tree), {"PENSTOCK__" + name: text})
