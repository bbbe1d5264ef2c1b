"""Questions to an API server: as whom, within their time, and every failure an OSError with words for people."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.adapters.kubernetes.client import Cluster, Refused, Session, _lines, _object
from tests.helpers.kubernetes import NAMESPACE, TOKEN, ApiServer, cluster
from tests.helpers.wire import run

pytestmark = pytest.mark.slow

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


async def listed(where: Cluster, within_s: float = 5.0) -> list[str]:
    """Names of all pods."""
    async with where.session(within_s) as session:
        return [pod["metadata"]["name"] for pod in (await session.list(PODS, {}))[0]]


def test_a_kubeconfig_says_where_and_as_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path, its context or $KUBECONFIG; the namespace is the context's unless another one is named."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            server.scale(3)
            monkeypatch.setenv("KUBECONFIG", config)
            for where in (Cluster(None, config, None), Cluster(None, config, "here"), Cluster(None, None, None)):
                assert len(await listed(where)) == 3
            async with Cluster(None, config, None).session(5.0) as session:
                assert session.namespace == NAMESPACE
            async with Cluster("other", config, None).session(5.0) as session:
                assert session.namespace == "other"

    run(main)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_pod_has_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster its token, namespace and CA stand in files; a token that was changed meanwhile is read again."""
    crt, key = tmp_path / "ca.crt", tmp_path / "key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days"]
    words += ["2", "-subj", "/CN=t", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(crt)]
    subprocess.run(words, check=True, capture_output=True, timeout=30)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text(NAMESPACE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)

    async def main() -> None:
        async with ApiServer(tls=context) as server:
            server.scale(1)
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
            where = Cluster(None, None, None, str(tmp_path))
            assert len(await listed(where)) == 1
            server.token = "rotated"
            (tmp_path / "token").write_text("rotated")
            assert len(await listed(where)) == 1
            server.token = "another"
            with pytest.raises(Refused, match="401: Unauthorized"):
                await listed(where)

    run(main)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "not found"),
        ("a: [", "no way to the cluster"),
        ("clusters: []\ncontexts: []", "No current context"),
        ("current-context: x\nclusters: []\ncontexts: []", "Context 'x' not found"),
        ("[]", "no way to the cluster"),
    ],
)
def test_no_way_there(text: str | None, said: str, tmp_path: Path) -> None:
    """A kubeconfig that is missing or says nothing usable is an OSError that tells why."""
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)

    async def main() -> None:
        with pytest.raises(OSError, match=said):
            await listed(Cluster(None, str(path), None))

    run(main)


def test_failures_are_told(tmp_path: Path) -> None:
    """What the Role does not allow, an object that is not there, a server that is silent, cuts, or is gone."""

    async def main() -> None:
        async with cluster(tmp_path) as (server, config):
            where = Cluster(None, config, None)
            async with where.session(5.0) as session:
                with pytest.raises(Refused, match="403: cannot get resource 'secrets'"):
                    await session.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/x")
                with pytest.raises(Refused, match=r"404: pods .* not found") as raised:
                    await session.delete(f"{PODS}/nobody")
                assert raised.value.status == 404
            server.silent = True
            with pytest.raises(TimeoutError, match=r"did not answer within 0\.05 s"):
                await listed(where, 0.05)
        with pytest.raises(OSError, match="cannot be reached: "):
            await listed(where)

    run(main)


def test_what_is_no_json_is_told() -> None:
    """An answer of some proxy in between is an OSError, and so is an event without end."""
    with pytest.raises(OSError, match="no JSON object"):
        _object(200, b"<html>")

    async def endless() -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * (1 << 20)

        with pytest.raises(OSError, match="an event of more than 8 MiB"):
            [line async for line in _lines(chunks())]

    run(endless)


def test_lines_are_cut_anywhere() -> None:
    """Events come whole, however the network cuts them; empty lines are none."""

    async def main() -> None:
        text = b'{"a": 1}\n\n{"b": 2}\n'
        for size in range(1, len(text) + 1):

            async def chunks(size: int = size) -> AsyncIterator[bytes]:
                for at in range(0, len(text), size):
                    yield text[at : at + size]

            assert [line async for line in _lines(chunks())] == [b'{"a": 1}', b'{"b": 2}']

    run(main)


def test_a_list_has_an_end() -> None:
    """A server that always has one more page is not listened to for ever."""

    class Endless(Session):
        async def get(self, path: str, params: object = None) -> dict[str, object]:
            return {"metadata": {"continue": "more"}, "items": []}

    async def main() -> None:
        with pytest.raises(OSError, match="a list of more than 20000 objects"):
            await Endless(None, "n", None).list("/x", {})

    run(main)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed it is told what to install."""

    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)

    async def main() -> None:
        with pytest.raises(OSError, match=r"install `penstock\[kubernetes\]`"):
            await listed(Cluster(None, None, None))

    run(main)
