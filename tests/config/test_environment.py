"""Variables inside texts, and variables over the file."""

# ruff: noqa: E501 -- tables of exact texts, one row a line

import pytest

from tests.config.support import POOL, load_text, mistakes_of


@pytest.mark.parametrize(
    "text, environment, listen",
    [
        ("${HOST}:80", {"HOST": "127.0.0.1"}, ("127.0.0.1", 80)),
        ("127.0.0.1:${PORT:-81}", {}, ("127.0.0.1", 81)),
        ("127.0.0.1:${PORT:-81}", {"PORT": ""}, ("127.0.0.1", 81)),
        ("127.0.0.1:${PORT:-81}", {"PORT": "82"}, ("127.0.0.1", 82)),
        ("${A}${B}", {"A": "127.0.0.1", "B": ":83"}, ("127.0.0.1", 83)),
    ],
)
def test_variables_are_replaced(text: str, environment: dict[str, str], listen: tuple[str, int]) -> None:
    """${NAME} is the variable, ${NAME:-default} the default where it is unset or empty."""
    assert load_text(f"{POOL}listen: '{text}'", environment).server.listen == listen


def test_what_a_variable_says_is_not_expanded_again() -> None:
    """A value that holds ${…} itself stays as it is, and $${ is a literal ${."""
    text = "pools: [{name: p, models: ['$${A}', '${A}'], replicas: [{url: 'http://h:1'}]}]"
    assert load_text(text, {"A": "${B}"}).gate.pools[0].models == ("${A}", "${B}")


def test_variables_serve_numbers_and_lists() -> None:
    """Where no text is expected, what a variable says is read as YAML."""
    text = "pools: [{name: p, models: '${M}', replicas: [{url: 'http://h:1', backup: '${B}', max_concurrent_requests: '${N}'}]}]"
    settings = load_text(text, {"M": "[a, b]", "B": "true", "N": "12"})
    assert settings.gate.pools[0].models == ("a", "b")
    assert (settings.replicas[0].backup, settings.replicas[0].max_concurrent_requests) == (True, 12)


@pytest.mark.parametrize(
    "line, environment, mistake",
    [
        ("listen: ${NOPE}", {}, "listen (line 2): the environment has no NOPE; set it, or write ${NOPE:-default}"),
        ("listen: ${no pe}", {}, "listen (line 2): found a ${ that is no variable; write ${NAME} or ${NAME:-default}, and $${ for a literal ${"),
        ("listen: ${W}", {"W": "secret"}, "listen (line 2): found what '${W}' expands to, expected host:port, like 127.0.0.1:8080, [::1]:8080, or :8080 for all addresses"),
        ("max_waiting: ${N}", {"N": "x"}, "max_waiting (line 2): found what '${N}' expands to, expected a whole number of at least 1"),
        ("keys: ${K}", {"K": "[a"}, "keys (line 2): found what '${K}' expands to, expected a list; write it as [one, two], or each on a line of its own after `- `"),
    ],
)  # fmt: skip
def test_wrong_variables_are_told(line: str, environment: dict[str, str], mistake: str) -> None:
    """A missing variable is told by its name, a wrong one without its value."""
    assert mistakes_of(POOL + line, environment) == [mistake]


def test_overrides_lie_over_the_file() -> None:
    """PENSTOCK__… sets one field and leaves the rest."""
    settings = load_text(
        POOL + "queue: {timeout: 1s, max: 5}\nadmin: 127.0.0.1:1",
        {
            "PENSTOCK__LISTEN": "127.0.0.1:7000",
            "PENSTOCK__ADMIN": "null",
            "PENSTOCK__QUEUE__TIMEOUT": "60s",
            "PENSTOCK__POOLS__0__STRATEGY": "round_robin",
            "PENSTOCK__POOLS__0__MODELS": "[a, b]",
            "PENSTOCK__POOLS__0__REPLICAS__1__URL": "http://h:2",
            "PENSTOCK__POOLS__0__PROBE__ENABLED": "false",
            "PENSTOCK__ALIASES": "{gpt: a}",
            "PENSTOCK_PORT": "tcp://10.0.0.1:80",
            "PATH": "/bin",
        },
    )
    pool = settings.gate.pools[0]
    assert (settings.server.listen, settings.server.admin) == (("127.0.0.1", 7000), None)
    assert (pool.queue.timeout_s, pool.queue.max, pool.models) == (60.0, 5, ("a", "b"))
    assert pool.strategy.__struct_config__.tag == "round_robin"
    assert not pool.probe.enabled
    assert [replica.id for replica in settings.replicas] == ["h:1", "h:2"]
    assert settings.gate.aliases == {"gpt": "a"}


def test_overrides_need_no_file() -> None:
    """A container can be configured by variables alone; items come in the order of their numbers."""
    names = [f"PENSTOCK__POOLS__0__REPLICAS__{number}__URL" for number in range(11)]
    environment = {name: f"http://h:{number + 1}" for number, name in enumerate(names)}
    settings = load_text("", {**environment, "PENSTOCK__POOLS__0__NAME": "p"})
    assert [replica.id for replica in settings.replicas] == [f"h:{number + 1}" for number in range(11)]


def test_an_override_gives_a_short_strategy_its_settings() -> None:
    """A field below a strategy in its short form makes it long."""
    text = "pools: [{name: p, strategy: adaptive, replicas: [{url: 'http://h:1'}]}]"
    settings = load_text(text, {"PENSTOCK__POOLS__0__STRATEGY__LOAD": "0.9"})
    assert getattr(settings.gate.pools[0].strategy, "load") == 0.9  # noqa: B009 -- the union has members without it


def test_an_override_spares_the_file_its_variables() -> None:
    """What is overridden is not read from the file, so its missing variables do not matter."""
    assert load_text(POOL + "listen: ${NOPE}", {"PENSTOCK__LISTEN": "127.0.0.1:5"}).server.listen[1] == 5


@pytest.mark.parametrize(
    "name, value, mistake",
    [
        ("QUEU__TIMEOUT", "1", "PENSTOCK__QUEU__TIMEOUT: the file has no field 'queu'; did you mean PENSTOCK__QUEUE__TIMEOUT?"),
        ("QUEUE__TIMEOUTS", "1", "PENSTOCK__QUEUE__TIMEOUTS: queue has no field 'timeouts'; did you mean PENSTOCK__QUEUE__TIMEOUT?"),
        ("XYZ", "1", "PENSTOCK__XYZ: the file has no field 'xyz'"),
        ("POOLS__3__NAME", "x", "PENSTOCK__POOLS__3__NAME: pools has 1 of them, so the next one is 1"),
        ("POOLS__X__NAME", "x", "PENSTOCK__POOLS__X__NAME: pools can be set as a whole only; write PENSTOCK__POOLS='…', as YAML"),
        ("ALIASES__GPT", "x", "PENSTOCK__ALIASES__GPT: aliases can be set as a whole only; write PENSTOCK__ALIASES='…', as YAML"),
        ("LISTEN__PORT", "1", "PENSTOCK__LISTEN__PORT: listen can be set as a whole only; write PENSTOCK__LISTEN='…', as YAML"),
        ("QUEUE__TIMEOUT", "zz", "queue.timeout (PENSTOCK__QUEUE__TIMEOUT): found 'zz', expected a duration: a number of seconds, or like 30s, 500ms, 1m30s"),
        ("QUEUE", "3", "queue (PENSTOCK__QUEUE): found the number 3, expected a mapping"),
        ("POOLS", "[{name: p, replicas: [{url: x}]}]", "pools[0].replicas[0].url (PENSTOCK__POOLS): found 'x', expected http(s)://host:port, a base path allowed; it begins with http:// or https://"),
        ("LOG__LEVEL", "loud", "log.level (PENSTOCK__LOG__LEVEL): found 'loud', expected one of debug, error, info, warning"),
    ],
)  # fmt: skip
def test_wrong_overrides_are_told_by_their_names(name: str, value: str, mistake: str) -> None:
    """A variable that sets nothing, or something wrong, is named."""
    assert mistakes_of(POOL, {"PENSTOCK__" + name: value}) == [mistake]


def test_an_override_below_something_else_is_told() -> None:
    """A field cannot be set inside what is no block."""
    wrong = mistakes_of("pools: 3", {"PENSTOCK__POOLS__0__NAME": "x"})
    assert "PENSTOCK__POOLS__0__NAME: cannot set pools[0].name, for pools is not a block in the file" in wrong
