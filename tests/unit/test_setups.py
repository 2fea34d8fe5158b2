"""AWS credentials and settings that are set up wrongly, as people have them: each error says where, and what to do.

botocore's own chain reads the files and variables here. No value, no line of a file and nothing
that a program wrote may be in an error: each holds a canary where a secret would be.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiobotocore.config import AioConfig
from botocore.credentials import SSOProvider
from botocore.tokens import SSOTokenProvider

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CredentialsError,
    CredentialSourceError,
    CredentialsPool,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
)
from unit.foreign_errors import CANARY, everything

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": CANARY}
START = "https://d-123.awsapps.com/start"
ROLE = "role_arn = arn:aws:iam::123456789012:role/app\n"
SSO = f"sso_start_url = {START}\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = r\n"
BASE = f"[profile b]\naws_access_key_id = AKID\naws_secret_access_key = {CANARY}\n"
HELPER = f'credential_process = "{sys.executable}" ' + "-c \"import sys; print('{out}'); sys.exit({code})\"\n"

NOWHERE = "http://127.0.0.1:1"  # a port on which nobody listens


class Setup(NamedTuple):
    """A configuration, the class of the error that it leads to, and what the message must say."""

    config: str | bytes
    expected: type[CredentialsError]
    words: tuple[str, ...]
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)


def not_started(reason: str) -> str:
    """Say why a program can't be started; Windows has words of its own for it, and names no file."""
    return "can't be started: " + ("" if sys.platform == "win32" else reason)


PROFILE_IN_USE = {"AWS_PROFILE": "p"}
DOCTOR = "python -m aiocredentials doctor"
ROLE_BY_TOKEN = {
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app",
    "AWS_ROLE_SESSION_NAME": "session",
}

SETUPS = {
    # Single sign-on
    "SSO, signed out": Setup(
        f"[profile p]\n{SSO}",
        AuthenticationError,
        (f"Token for {START} does not exist (profile 'p')", "Sign in: aws sso login --profile p"),
        PROFILE_IN_USE,
    ),
    "SSO session, signed out": Setup(
        f"[sso-session corp]\nsso_start_url = {START}\nsso_region = us-east-1\n"
        "[profile p]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n",
        AuthenticationError,
        ("Token for corp does not exist (profile 'p')", "aws sso login --profile p"),
        PROFILE_IN_USE,
    ),
    "SSO, signed out in the default profile": Setup(
        f"[default]\n{SSO}",
        AuthenticationError,
        ("(the default profile)", "Sign in: aws sso login"),
        {},
    ),
    "SSO, token expired": Setup(
        f"[profile p]\n{SSO}".replace(START, "https://expired/start"),
        AuthenticationError,
        ("the SSO session of profile 'p' has expired or isn't valid", "aws sso login --profile p"),
        PROFILE_IN_USE,
    ),
    "SSO session, token expired": Setup(
        f"[sso-session expired]\nsso_start_url = {START}\nsso_region = us-east-1\n"
        "[profile p]\nsso_session = expired\nsso_account_id = 1\nsso_role_name = r\n",
        CredentialSourceError,
        (
            "the SSO token of profile 'p' has expired and couldn't be renewed",
            "aws sso login --profile p",
        ),
        PROFILE_IN_USE,
    ),
    "SSO session that isn't there": Setup(
        "[profile p]\nsso_session = nowhere\nsso_account_id = 1\nsso_role_name = r\n",
        AuthenticationError,
        ('sso-session does not exist: "nowhere"', "Correct profile 'p' in the config file"),
        PROFILE_IN_USE,
    ),
    "SSO without a region": Setup(
        f"[profile p]\n{SSO}".replace("sso_region = us-east-1\n", ""),
        AuthenticationError,
        ('The profile "p"', "missing required configuration: sso_region"),
        PROFILE_IN_USE,
    ),
    "SSO session that differs": Setup(
        f"[sso-session corp]\nsso_start_url = {CANARY}\nsso_region = us-east-1\n[profile p]\n{SSO}sso_session = corp\n",
        AuthenticationError,
        ("sso_start_url differs between profile 'p' and its sso-session",),
        PROFILE_IN_USE,
    ),
    # Roles
    "source profile that isn't there": Setup(
        f"[profile p]\n{ROLE}source_profile = nowhere\n",
        AuthenticationError,
        (
            'The source_profile "nowhere" referenced in the profile "p" does not exist',
            "Correct profile 'p'",
        ),
        PROFILE_IN_USE,
    ),
    "source profiles in a circle": Setup(
        f"[profile p]\n{ROLE}source_profile = q\n[profile q]\n{ROLE}source_profile = p\n",
        AuthenticationError,
        ("source_profile leads in a circle: ['p', 'q']",),
        PROFILE_IN_USE,
    ),
    "source profile without credentials": Setup(
        f"[profile p]\n{ROLE}source_profile = q\n[profile q]\nregion = eu-west-1\n",
        AuthenticationError,
        ('The source profile "q" must have credentials',),
        PROFILE_IN_USE,
    ),
    "role without a source": Setup(
        f"[profile p]\n{ROLE}",
        AuthenticationError,
        ("profile 'p' has a role_arn, but no source_profile or credential_source",),
        PROFILE_IN_USE,
    ),
    "role with two sources": Setup(
        f"[profile p]\n{ROLE}source_profile = b\ncredential_source = Environment\n{BASE}",
        AuthenticationError,
        ('The profile "p" contains both source_profile and credential_source',),
        PROFILE_IN_USE,
    ),
    "credential_source with a typing mistake": Setup(
        f"[profile p]\n{ROLE}credential_source = ECS\n",
        AuthenticationError,
        ('The credential source "ECS" referenced in profile "p" is not valid',),
        PROFILE_IN_USE,
    ),
    "credential_source with nothing in it": Setup(
        f"[profile p]\n{ROLE}credential_source = Ec2InstanceMetadata\n",
        CredentialSourceError,
        ("their source 'Ec2InstanceMetadata' has none for profile 'p'",),
        PROFILE_IN_USE,
    ),
    "role_arn that is none": Setup(
        f"[profile p]\nrole_arn = {CANARY[:5]}\nsource_profile = b\n{BASE}",
        AuthenticationError,
        ("the value of role_arn (or AWS_ROLE_ARN) is malformed, or out of range (profile 'p')",),
        PROFILE_IN_USE,
    ),
    "duration_seconds that is too short": Setup(
        f"[profile p]\n{ROLE}source_profile = b\nduration_seconds = 10\n{BASE}",
        AuthenticationError,
        ("the value of duration_seconds is malformed, or out of range",),
        PROFILE_IN_USE,
    ),
    # Web identity
    "token file that isn't there": Setup(
        "",
        CredentialSourceError,
        ("the file '/nowhere/token' (from AWS_WEB_IDENTITY_TOKEN_FILE) can't be used: No such file or directory",),
        {**ROLE_BY_TOKEN, "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token"},
    ),
    "token file of the profile that isn't there": Setup(
        f"[profile p]\n{ROLE}web_identity_token_file = /nowhere/token\n",
        CredentialSourceError,
        ("the file '/nowhere/token' can't be used: No such file or directory",),
        PROFILE_IN_USE,
    ),
    "token file without a token": Setup(
        "",
        CredentialSourceError,
        ("the web identity token in the file of AWS_WEB_IDENTITY_TOKEN_FILE is empty",),
        {**ROLE_BY_TOKEN, "AWS_WEB_IDENTITY_TOKEN_FILE": os.devnull},
    ),
    "token file without a role": Setup(
        "",
        AuthenticationError,
        (
            "the environment or the default profile names a web identity token file, but no role",
            "Set AWS_ROLE_ARN",
        ),
        {"AWS_WEB_IDENTITY_TOKEN_FILE": os.devnull},
    ),
    # Programs
    "program that prints no JSON": Setup(
        "[profile p]\n" + HELPER.format(out=CANARY, code=0),
        AuthenticationError,
        (
            "the program in credential_process (profile 'p') doesn't print the expected JSON",
            "Run the program by hand",
        ),
        PROFILE_IN_USE,
    ),
    "program that prints a list": Setup(
        "[profile p]\n" + HELPER.format(out="[1]", code=0),
        AuthenticationError,
        ("doesn't print the expected JSON",),
        PROFILE_IN_USE,
    ),
    "program of another version": Setup(
        "[profile p]\n" + HELPER.format(out=r"{\"Version\": 2}", code=0),
        AuthenticationError,
        ("the program in credential_process (profile 'p') prints a Version other than 1",),
        PROFILE_IN_USE,
    ),
    "program that prints half of it": Setup(
        "[profile p]\n" + HELPER.format(out=rf"{{\"Version\": 1, \"AccessKeyId\": \"{CANARY}\"}}", code=0),
        AuthenticationError,
        ("(profile 'p') prints no SecretAccessKey",),
        PROFILE_IN_USE,
    ),
    "program that prints old ones": Setup(
        "[profile p]\n"
        + HELPER.format(
            out=r"{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"SessionToken\": \"t\","
            r" \"Expiration\": \"2020-01-01T00:00:00Z\"}",
            code=0,
        ),
        CredentialSourceError,
        (
            "the source of profile 'p' returned credentials that have expired already",
            "the clock of this host",
        ),
        PROFILE_IN_USE,
    ),
    "program that fails": Setup(
        "[profile p]\n" + HELPER.format(out=CANARY, code=3),
        CredentialSourceError,
        (
            "the program in credential_process (profile 'p') ended with an error",
            "Run the program by hand",
        ),
        PROFILE_IN_USE,
    ),
    "program that isn't installed": Setup(
        f"[profile p]\ncredential_process = /nowhere/get-credentials --password {CANARY}\n",
        AuthenticationError,
        (
            not_started("/nowhere/get-credentials: No such file or directory"),
            "install the program",
        ),
        PROFILE_IN_USE,
    ),
    "program that is a variable": Setup(
        f"[profile p]\ncredential_process = PASSWORD={CANARY} get-credentials\n",
        AuthenticationError,
        ("the program in credential_process (profile 'p') ", not_started("No such file or directory")),
        PROFILE_IN_USE,
    ),
    "program that may not be run": Setup(
        "[profile p]\ncredential_process = /dev/null\n",
        AuthenticationError,
        (not_started("/dev/null: Permission denied"),),
        PROFILE_IN_USE,
    ),
    "program with half a quotation": Setup(
        f'[profile p]\ncredential_process = sh -c "echo {CANARY}\n',
        AuthenticationError,
        ("credential_process (profile 'p') has a quotation mark that isn't closed",),
        PROFILE_IN_USE,
    ),
    # Files
    "half a profile": Setup(
        "[profile p]\naws_access_key_id = AKID\n",
        AuthenticationError,
        ("profile 'p', or the one that it refers to, has no aws_secret_access_key",),
        PROFILE_IN_USE,
    ),
    "byte order mark": Setup(
        b"\xef\xbb\xbf[profile p]\naws_secret_access_key = " + CANARY.encode(),
        AuthenticationError,
        ("config' can't be parsed (line 1)", "without a byte order mark"),
        PROFILE_IN_USE,
    ),
    "UTF-16": Setup(BASE.encode("utf-16"), AuthenticationError, ("config' can't be parsed. ",), PROFILE_IN_USE),
    "merge conflict": Setup(
        f"<<<<<<< {CANARY}\n{BASE}",
        AuthenticationError,
        ("config' can't be parsed (line 1)",),
        PROFILE_IN_USE,
    ),
    "a line without a key": Setup(
        f"[profile p]\nregion = eu-west-1\n{CANARY}\n",
        AuthenticationError,
        ("config' can't be parsed (line 3)",),
        PROFILE_IN_USE,
    ),
    "a key that is there twice": Setup(
        f"{BASE}aws_secret_access_key = {CANARY}\n",
        AuthenticationError,
        ("config' can't be parsed (line 4)", "each key once"),
        PROFILE_IN_USE,
    ),
    "no such profile": Setup(
        "[default]\nregion = eu-west-1\n",
        AuthenticationError,
        (
            "there is no profile 'p' (from AWS_PROFILE) in ",
            "config or ",
            "credentials",
            "as [profile p] to",
        ),
        PROFILE_IN_USE,
    ),
    "no such profile by the other variable": Setup(
        "",
        AuthenticationError,
        ("there is no profile 'p' (from AWS_DEFAULT_PROFILE)",),
        {"AWS_DEFAULT_PROFILE": "p"},
    ),
    "a profile without a name": Setup(
        "",
        AuthenticationError,
        ("the name of the profile in AWS_PROFILE is empty", "Unset AWS_PROFILE"),
        {"AWS_PROFILE": ""},
    ),
    "a profile with a line end": Setup("", AuthenticationError, (r"no profile 'p\r'",), {"AWS_PROFILE": "p\r"}),
    "no config file": Setup(
        "",
        AuthenticationError,
        ("there is no profile 'p' (from AWS_PROFILE) in /nowhere/config or",),
        {**PROFILE_IN_USE, "AWS_CONFIG_FILE": "/nowhere/config"},
    ),
    # No credentials
    "nothing at all": Setup(
        "",
        CredentialSourceError,
        ("none were found", "AWS_EC2_METADATA_DISABLED switches the metadata service off", DOCTOR),
        {},
    ),
    "a profile with nothing in it": Setup(
        "[profile p]\nregion = eu-west-1\n",
        CredentialSourceError,
        ("none were found", "in profile 'p'"),
        PROFILE_IN_USE,
    ),
    "files that aren't there": Setup(
        "",
        CredentialSourceError,
        (
            "in the default profile",
            "AWS_CONFIG_FILE names '/dev', which isn't a file",
            "AWS_SHARED_CREDENTIALS_FILE names '/nowhere/credentials', which isn't a file",
        ),
        {
            "AWS_CONFIG_FILE": "/dev",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": NOWHERE,
        },
    ),
    "a key without its secret": Setup(
        "",
        AuthenticationError,
        ("the environment variable AWS_SECRET_ACCESS_KEY isn't set", "Set AWS_SECRET_ACCESS_KEY"),
        {"AWS_ACCESS_KEY_ID": CANARY},
    ),
    # Metadata services
    "container endpoint that is down": Setup(
        "",
        CredentialSourceError,
        ("the endpoint in AWS_CONTAINER_CREDENTIALS_FULL_URI returned none (Connect call failed",),
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{NOWHERE}/{CANARY}"},
    ),
    "container endpoint elsewhere": Setup(
        "",
        AuthenticationError,
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI names a host from which credentials aren't accepted over plain http",),
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{CANARY}.example/"},
    ),
    "container token with a line end": Setup(
        "",
        AuthenticationError,
        ("the token of AWS_CONTAINER_AUTHORIZATION_TOKEN contains a line end",),
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{NOWHERE}/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": f"{CANARY}\n",
        },
    ),
    "container token file that isn't there": Setup(
        "",
        CredentialSourceError,
        ("the file '/nowhere/token' (from AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE) can't be used",),
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{NOWHERE}/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere/token",
        },
    ),
    "metadata endpoint that is none": Setup(
        "",
        AuthenticationError,
        ("the URL in AWS_EC2_METADATA_SERVICE_ENDPOINT (ec2_metadata_service_endpoint in the profile) is malformed",),
        {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{CANARY} two/",
        },
    ),
    "metadata mode that is none": Setup(
        "",
        AuthenticationError,
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "is neither ipv4 nor ipv6"),
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": CANARY},
    ),
    "metadata timeout that is none": Setup(
        "",
        AuthenticationError,
        ("AWS_METADATA_SERVICE_TIMEOUT isn't a number",),
        {"AWS_METADATA_SERVICE_TIMEOUT": CANARY},
    ),
    # Settings of the client
    "defaults mode that is none": Setup(
        "",
        InvalidParameterError,
        (
            "AWS_DEFAULTS_MODE, or defaults_mode in the profile or of the config isn't a valid mode",
            "Use one of legacy, auto",
        ),
        {**KEYS, "AWS_DEFAULTS_MODE": CANARY},
    ),
    "endpoint that is none": Setup(
        "",
        InvalidParameterError,
        ("endpoint_url or AWS_ENDPOINT_URL isn't a URL whose host",),
        {**KEYS, "AWS_ENDPOINT_URL": f"http://{CANARY}_underscore:4566"},
    ),
    "endpoint with a line end": Setup(
        "",
        InvalidParameterError,
        ("endpoint_url or AWS_ENDPOINT_URL_SECRETS_MANAGER isn't a URL",),
        {**KEYS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1\n"},
    ),
    "CA bundle that isn't there": Setup(
        "",
        EndpointUnreachableError,
        ("(/nowhere.pem) can't be loaded: No such file or directory", "Check AWS_CA_BUNDLE"),
        {**KEYS, "AWS_CA_BUNDLE": "/nowhere.pem"},
    ),
    # Regions
    "region in quotes": Setup(
        f'{BASE.replace("profile b", "profile p")}region = "eu-west-1"\n',
        InvalidRegionError,
        ("AWS has no region '\"eu-west-1\"'", "did you mean 'eu-west-1'?", "(from profile 'p')"),
        PROFILE_IN_USE,
    ),
    "region with a comment": Setup(
        f"{BASE.replace('profile b', 'profile p')}region = eu-west-1  # Dublin\n",
        InvalidRegionError,
        ("AWS has no region 'eu-west-1  # Dublin'", "did you mean 'eu-west-1'?"),
        PROFILE_IN_USE,
    ),
    "region with a line end": Setup(
        "",
        InvalidRegionError,
        (r"AWS has no region 'us-east-1\n'", "(from AWS_REGION)", "did you mean 'us-east-1'?"),
        {**KEYS, "AWS_REGION": "us-east-1\n"},
    ),
}
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the files, with SSO tokens that have expired."""
    # botocore works out the home directory when it is imported: too early for HOME to help.
    for provider in (SSOProvider, SSOTokenProvider):
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
    for key in ("https://expired/start", "expired"):
        name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        token = {
            "startUrl": START,
            "region": "us-east-1",
            "accessToken": CANARY,
            "expiresAt": "2020-01-01T00:00:00Z",
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(token), encoding="utf-8")
    return tmp_path


async def error_of(*, pooled: bool) -> CredentialsError:
    """Return what a fetch raises."""
    if not pooled:
        with pytest.raises(CredentialsError) as caught:
            await AsyncCredentialsManager[Any]("prod/db", config=ONE_ATTEMPT).get()
        return caught.value
    async with CredentialsPool(config=ONE_ATTEMPT) as pool:
        with pytest.raises(CredentialsError) as caught:
            await pool.manager("prod/db").get()
    return caught.value


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
@pytest.mark.parametrize("name", SETUPS)
async def test_a_wrong_setup(name: str, pooled: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 (a table)
    """Each says which profile, file or variable it is, and what to do, and shows no value; its class fits."""
    setup = SETUPS[name]
    (home / "config").write_bytes(setup.config if isinstance(setup.config, bytes) else setup.config.encode())
    (home / "credentials").write_text("", encoding="utf-8")
    for variable in KEYS:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    for variable, value in setup.environment.items():
        monkeypatch.setenv(variable, value)
    if setup.expected is not InvalidRegionError:
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    error = await error_of(pooled=pooled)
    text = str(error)
    assert type(error) is setup.expected, text
    for words in setup.words:
        assert words in text
    assert error.transient is issubclass(setup.expected, CredentialSourceError | EndpointUnreachableError)
    assert error.asked is (setup.expected is EndpointUnreachableError)
    assert error.secret_name == "prod/db"
    assert "secret 'prod/db'" in text
    assert text.isprintable()
    assert re.search(r"\. [A-Z][^.]*", text)
    assert text.endswith(error.advice)
    assert CANARY not in everything(error)
    assert "answers in its place" not in text
