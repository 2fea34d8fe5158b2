"""The page on Lambda (lambda.md): its handlers run as Lambda runs them, invocation after invocation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.integrations import snapstart
from blocks import blocks_of, is_as_promised, promised_by, runner

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "lambda.md"
DATABASE = {"username": "app", "password": "mock_password", "host": "db.example", "port": 5432}
# What an HTTP API of API Gateway sends (format 2.0), as far as Mangum reads it.
EVENT = {
    "version": "2.0",
    "headers": {"host": "api.example"},
    "rawQueryString": "",
    "isBase64Encoded": False,
    "requestContext": {"stage": "$default", "http": {"method": "GET", "path": "/user", "sourceIp": "127.0.0.1"}},
}


@pytest.mark.usefixtures("moto_environment")
def test_page(
    create_secret: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks run one after the other; all invocations share one fetch, and each restored copy makes one."""
    pytest.importorskip("mangum")
    aws = pytest.importorskip("snapshot_restore_py")
    monkeypatch.setattr(aws, "_before_snapshot_registry", [])
    monkeypatch.setattr(aws, "_after_restore_registry", [])
    monkeypatch.setattr(snapstart, "_is_registered", False)
    create_secret("prod/database", json.dumps(DATABASE), "eu-west-1")

    with runner("page") as (page, run):
        for block in blocks_of(PAGE):
            if block.language == "json":
                assert len(json.loads(block.text)["Statement"]) == 2
                continue
            run(block)
            printed = capsys.readouterr().out
            assert is_as_promised(promised_by(block), printed), f"{block} printed: {printed}"
        names: Any = vars(page)
        try:
            invoke_again(names, aws)
        finally:
            names["runner"].run(names["pool"].aclose())
            names["runner"].close()


def invoke_again(page: dict[str, Any], aws: Any) -> None:  # noqa: ANN401 (a module without types)
    """Call both handlers, then run the hooks as a snapshot and a restore do, and call them again."""
    pool = page["pool"]
    for fetches in (1, 2):
        for _ in range(2):
            assert page["handler"]({}, None) == "app"
            answer = page["lambda_handler"](EVENT, None)
            assert (answer["statusCode"], json.loads(answer["body"])) == (200, "app")
        assert pool.stats().fetches == fetches
        for hooks in (reversed(aws.get_before_snapshot()), aws.get_after_restore()):
            for hook, arguments, options in hooks:
                hook(*arguments, **options)
        assert pool.stats().entries == 0
