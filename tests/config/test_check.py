"""What `penstock check` says of a configuration that can be used."""

import json

from penstock.config.check import report
from tests.config.support import load_text
from tests.config.test_load import THE_FILE


def test_the_report_is_plain_data() -> None:
    """It can be printed as JSON, and tells what holds."""
    found = report(load_text(THE_FILE))
    assert json.loads(json.dumps(found)) == found
    assert (found["listen"], found["admin"], found["open"], found["keys"]) == (
        "http://127.0.0.1:8080",
        "127.0.0.1:9090",
        False,
        ["demo"],
    )
    assert found["pools"] == [
        {
            "name": "tiny", "models": ["tiny"], "strategy": "adaptive", "sticky": "", "replicas": 2, "seats": 16,
            "queue": "10,000 calls, 30 s", "attempts": 3,
        }
    ]  # fmt: skip
    assert found["replicas"][0]["id"] == "127.0.0.1:18301"
    assert "sk-demo" not in json.dumps(found)
