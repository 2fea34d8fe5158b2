"""The doctor survives every region, label, endpoint and credential state."""

from __future__ import annotations

import asyncio
import json
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from aiocredentials.doctor import cli as main, search as searching
from leaks.canary import TOKEN, VALUE, leaked
from server.doctor_servers import KEY, SSO, Silence, environment
from server.stub import Answer, Request, StubSecretsManager

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["environment"]  # fixtures


KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": VALUE, "AWS_SESSION_TOKEN": TOKEN}
ROLE = "role_arn = arn:aws:iam::123456789012:role/app"
# For each kind the environment, and the profile "dev", which is used if there is one.
CREDENTIALS: dict[str, tuple[dict[str, str], str]] = {
    "keys": (KEYS, ""),
    "half of the keys": ({"AWS_ACCESS_KEY_ID": KEY}, ""),
    "a key with a line end": ({**KEYS, "AWS_ACCESS_KEY_ID": f"{KEY}\n"}, ""),
    "none": ({}, ""),
    "no such profile": ({"AWS_PROFILE": "other"}, "region = eu-west-1"),
    "half of a profile": ({}, f"aws_access_key_id = {KEY}"),
    "no source profile": ({}, f"{ROLE}\nsource_profile = nowhere"),
    "a loop of profiles": ({}, f"{ROLE}\nsource_profile = dev"),
    "mfa": ({}, f"{ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::123456789012:mfa/me"),
    "sso, never signed in": ({}, SSO),
    "sso, half": ({}, SSO.replace("sso_region", "region")),
    "a process that fails": ({}, f"credential_process = sh -c 'echo {TOKEN} >&2; exit 3'"),
    "a process without JSON": ({}, f"credential_process = echo {TOKEN}"),
    "no such process": ({}, "credential_process = /nowhere/credentials"),
    "a container that hangs": ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "SILENCE"}, ""),
    "a container that is gone": ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1"}, ""),
    "no token file": ({"AWS_ROLE_ARN": ROLE[11:], "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"}, ""),
}
REGION_NAMES = {
    "good": "eu-west-1",
    "china": "cn-north-1",
    "isolated": "us-iso-east-1",
    "unlisted": "eu-north-77",
    "typo": "eu-west1",
    "a city": "Ireland",
    "empty": "",
    "a line end": "eu-west-1\n",
    "spaces": "eu west 1",
    "long": "eu-west-" * 38,
    "upper case": "EU-WEST-1",
    "not ASCII": "größe-1",
    "an escape": "\x1b[2J\u202e",
}
# For these botocore makes no client.
NO_REGIONS = {"a line end", "spaces", "long", "not ASCII", "an escape"}
# In the place of AWS_ENDPOINT_URL_SECRETS_MANAGER; STUB is one that answers.
ENDPOINTS = {
    "AWS's own": "",
    "refused": "http://127.0.0.1:1",
    "unresolved": "https://secretsmanager.invalid",
    "in clear, elsewhere": "http://secretsmanager.invalid",
    "with a login": f"http://user:{TOKEN[:8]}@127.0.0.1:1",
    "with an odd login": f"http://user:{TOKEN}@127.0.0.1:1",
    "no scheme": "127.0.0.1:1",
    "no port": "http://127.0.0.1:99999",
    "no host": "http://[::1",
    "not in DNS": "http://a..b",
    "a long name": f"http://{'a' * 300}.invalid",
}
PROXIES = {
    "refused": f"http://user:{TOKEN[:8]}@127.0.0.1:1",
    "unresolved": "http://proxy.invalid:3128",
    "no scheme": f"user:{TOKEN[:8]}@proxy.invalid",
    "no host": "http://[::1",
}
LABELS: dict[str, Any] = {
    "many": {f"v-{number}": ["AWSPENDING"] for number in range(100)},
    "harmful": {"v\x1b[2J": ["\u202eAWSCURRENT", "\u200b", "\ud800"]},
    "numbers": {"v-1": [1, None]},
    "none": {"v-1": None},
    "a list": ["v-1"],
}
STUB = "the stub"


class Situation(NamedTuple):
    """What the doctor must survive, by the keys of the tables above."""

    credentials: str = "keys"
    region: str = "good"
    endpoint: str = STUB
    proxy: str | None = None
    labels: str | None = None


def situations() -> list[Situation]:
    """Change each part by itself, and credentials and regions together with the parts that depend on them."""
    every = [Situation(region=region) for region in REGION_NAMES]
    every += [Situation(region=region, endpoint="AWS's own") for region in REGION_NAMES]
    every += [Situation("none", region) for region in ("typo", "spaces", "long")]
    every += [Situation(endpoint=endpoint) for endpoint in ENDPOINTS if endpoint != "AWS's own"]
    every += [Situation("none", endpoint=endpoint) for endpoint in ENDPOINTS]
    every += [Situation(credentials, "a city") for credentials in CREDENTIALS]
    every += [Situation(credentials, endpoint="no host") for credentials in CREDENTIALS if credentials != "keys"]
    every += [Situation(endpoint="unresolved", proxy=proxy) for proxy in PROXIES]
    every += [Situation(labels=labels) for labels in LABELS]
    return list(dict.fromkeys(every))


def test_situations() -> None:
    """There are enough situations to be worth something."""
    assert len(situations()) >= 60


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no host name be resolved but those of this machine."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the system's
        if str(host) not in {"127.0.0.1", "localhost"}:
            str(host).encode("idna")  # which raises for a name that DNS can't express, as the system's does
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("situation", situations(), ids=lambda one: "-".join(filter(None, one)))
async def test_it_survives(
    situation: Situation,
    stub: StubSecretsManager,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever is configured, there is an exit code, a report, no traceback and no secret."""
    no_network(environment)
    environment.setattr("getpass.getpass", raise_eof)
    environment.setattr(searching, "SEARCH_SECONDS", 0.1)
    for name in (*KEYS, "AWS_REGION"):
        environment.delenv(name)
    variables, profile = CREDENTIALS[situation.credentials]
    if profile:
        base = f"[profile base]\naws_access_key_id = {KEY}\naws_secret_access_key = {TOKEN}\n"
        (tmp_path / "config").write_text(f"{base}[profile dev]\n{profile}\n", encoding="utf-8")
        environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        environment.setenv("AWS_PROFILE", "dev")
    environment.setenv("AWS_REGION", REGION_NAMES[situation.region])
    if url := {STUB: stub.url, **ENDPOINTS}[situation.endpoint]:
        environment.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
    if situation.proxy:
        environment.setenv("HTTPS_PROXY", PROXIES[situation.proxy])
    stub.handler = partial(one_secret, LABELS.get(situation.labels or ""))
    has_answer = situation.credentials == "keys" and situation.endpoint == STUB
    # An answer may take long where tests share a processor. Where there is none, waiting for it takes long.
    seconds = "2" if has_answer else "0.5"
    arguments = ["doctor", "prod/db", "prod/none", "--timeout", seconds]
    # Searching all regions is for the odd ones, because it takes longer.
    arguments += ["--regions", "eu-west-2"] if situation.region == "good" else []
    async with Silence() as silent:
        for name, value in variables.items():
            environment.setenv(name, value.replace("SILENCE", silent.url()))
        exit_code = await asyncio.to_thread(main.run, arguments)
        as_object = await asyncio.to_thread(main.run, [*arguments, "--json"])
    shown = capsys.readouterr()
    table, _, facts = shown.out.partition("\n{")
    assert exit_code == as_object == json.loads(f"{{{facts}")["exit_code"]
    assert exit_code in {0, 1, 3}
    assert (exit_code == 1) == (has_answer and situation.region not in NO_REGIONS)
    assert table.splitlines()[-1].endswith(".")
    assert shown.err == ""
    assert "Traceback" not in shown.out
    assert leaked(shown.out) is None
    assert TOKEN[:8] not in shown.out
    assert all(line.isprintable() for line in shown.out.splitlines())


def raise_eof(*_: object) -> str:
    """Have nobody at the keyboard."""
    raise EOFError


def one_secret(versions: object, request: Request) -> Answer:
    """Answer as a Secrets Manager with one secret, prod/db, in every region."""
    if request.body.get("SecretId", "prod/db") != "prod/db":
        return Answer(400, {"__type": "ResourceNotFoundException", "Message": "No."})
    if versions is None or request.target != "DescribeSecret":
        return Answer()
    arn = f"arn:aws:secretsmanager:{request.region}:123456789012:secret:prod/db-AbCdEf"
    return Answer(body={"ARN": arn, "Name": "prod/db", "VersionIdsToStages": versions})
