"""The doctor's report, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aiocredentials.doctor import Elsewhere, Endpoint, Identity
from aiocredentials.doctor.layout import columns, printable
from aiocredentials.doctor.rendering import as_json, as_text
from unit.doctor_fakes import (
    ARN,
    CONTENTS,
    DENIED,
    DESCRIPTION,
    NO_CREDENTIALS,
    NOT_FOUND,
    NOW,
    REFUSED,
    FakeProbe,
    endpoint_by,
    examined,
    report_on,
)


async def test_as_text() -> None:
    """The table has the identity, the region, the permissions, the keys, the versions, the rotation, and their ages."""
    endpoint = await endpoint_by(FakeProbe(CONTENTS))
    text = as_text(report_on(await examined(FakeProbe(CONTENTS)), endpoints=(endpoint,)), colours=False, now=NOW)
    for line in (
        "  ok    identity      arn:aws:iam::123456789012:user/app (account 123456789012)",
        "        credentials   environment variables, key ...WXYZ",
        "        region        eu-west-1 (from AWS_REGION)",
        "        endpoint      https://secretsmanager.eu-west-1.amazonaws.com",
        "  ok    reachable     yes",
        "  ok    TLS           certificate and host name are valid",
        "prod/db in eu-west-1",
        f"  ok    exists        yes, {ARN}",
        "  ok    describe      allowed",
        "        value         JSON object with the keys password, username",
        "1 secret checked: 1 ok.",
    ):
        assert line in text.splitlines()
    assert "UTC (22 days ago)" in text
    assert "UTC (1 hour ago)" in text
    assert "UTC (in 8 days)" in text
    assert "\x1b" not in text


async def test_problems_as_text() -> None:
    """Problems stand out, other regions are counted, and the last line counts the secrets."""
    elsewhere = Elsewhere(found=("us-east-1",), deleted=("us-west-1",), absent=("a", "b"), silent=("c",))
    wrong = await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=elsewhere))
    unknown = await examined(FakeProbe(REFUSED))
    report = report_on(
        wrong,
        unknown,
        identity=Identity(method="sso", profile="dev", key_ending="", problem="STS: no answer within 10 s."),
        endpoints=(
            Endpoint(
                region="eu-west-1",
                region_source="AWS_REGION",
                url="http://vpce.example",
                url_source="AWS_ENDPOINT_URL",
                proxy="http://proxy.example",
                reachable=False,
                tls=None,
                failure="dns",
                problem="No answer.",
            ),
        ),
    )
    assert report.exit_code == 3
    text = as_text(report, colours=False, now=NOW)
    for line in (
        "  ?     identity      STS: no answer within 10 s.",
        "        credentials   IAM Identity Center (SSO), profile 'dev'",
        "        endpoint      http://vpce.example (from AWS_ENDPOINT_URL)",
        "        proxy         http://proxy.example",
        "  FAIL  reachable     no: the host name can't be resolved (DNS)",
        "  note  TLS           none: the connection isn't encrypted",
        "  FAIL  exists        no",
        "  note  found in      us-east-1",
        "  note  deleted in    us-west-1",
        "        elsewhere     absent in 2 regions, no answer in 1 region",
        "2 secrets checked: 1 failed, 1 unknown (no answer from AWS).",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("failure", "row"),
    [
        ("ca bundle", "the CA bundle or the client certificate can't be loaded"),
        ("dns", "the host name can't be resolved (DNS)"),
        ("refused", "connection refused (nothing listens on this port)"),
        ("timeout", "no connection in time (check firewalls, security groups and routes)"),
        ("tls", "connected, but TLS failed"),
        ("proxy", "the connection through the proxy failed"),
        ("no answer", "connected, but no answer"),
    ],
)
async def test_each_failed_step_as_text(failure: str, row: str) -> None:
    """The row `reachable` names the step that failed."""
    endpoint = replace(await endpoint_by(FakeProbe(NO_CREDENTIALS)), failure=failure)
    text = as_text(report_on(endpoints=(endpoint,)), colours=False, now=NOW)
    assert f"  ?     reachable     unknown (no request was sent): {row}\n" in text


async def test_what_is_not_known_as_text() -> None:
    """A table has no holes: facts that AWS or an emulator leaves out are shown as unknown."""
    probe = FakeProbe(NO_CREDENTIALS)
    probe.way = None
    endpoint = replace(await endpoint_by(probe), problem=None)
    untrusted = as_text(report_on(endpoints=(replace(endpoint, tls=False),)), colours=False, now=NOW)
    assert "  FAIL  TLS           failed\n" in untrusted
    known = Identity(method="new", key_ending="")
    lines = as_text(report_on(identity=known, endpoints=(endpoint,)), colours=False, now=NOW)
    assert "  ?     identity      unknown\n" in lines
    assert lines.endswith("0 secrets checked.")
    assert "        credentials   new\n" in lines
    assert "\neu-west-1\n  ?     reachable     unknown (no request was sent)\n" in lines
    bare = replace(
        DESCRIPTION, rotation_enabled=False, changed_at=None, versions={}, rotated_at=None, next_rotation_at=None
    )
    plain = replace(CONTENTS, kind="plain text", keys=None, key_count=None, created_at=None)
    secret = await examined(FakeProbe(plain, bare))
    text = as_text(report_on(secret), colours=False, now=NOW)
    assert "version       v-2, created at an unknown time" in text
    assert "rotation      off" in text
    assert "value         plain text\n" in text
    only_elsewhere = replace(secret, contents=None, elsewhere=Elsewhere(found=("us-east-1",)))
    assert "elsewhere" not in as_text(report_on(only_elsewhere), colours=False, now=NOW)
    only_absent = replace(secret, elsewhere=Elsewhere(absent=("us-east-1",)))
    assert "elsewhere     absent in 1 region" in as_text(report_on(only_absent), colours=False, now=NOW)


def test_no_session() -> None:
    """Where nothing could be asked at all, that is the whole report."""
    report = report_on(problem="The profile is broken.", identity=Identity())
    assert report.exit_code == 3
    text = as_text(report, colours=False, now=NOW)
    assert " ".join(text.split()) == (
        "FAIL session The profile is broken. Nothing was checked: the AWS session can't be opened."
    )


def test_no_credentials_as_text() -> None:
    """Without credentials the table says why, once, and that nothing was checked."""
    broken = report_on(identity=Identity(method="sso", profile="dev", problem="The token has expired."))
    assert as_text(broken, colours=False, now=NOW).splitlines() == [
        "  FAIL  credentials   IAM Identity Center (SSO), profile 'dev'",
        "  FAIL  problem       The token has expired.",
        "        region        eu-west-1 (from AWS_REGION)",
        "",
        "Nothing was checked: no AWS credentials could be loaded.",
    ]
    none = as_text(report_on(identity=Identity()), colours=False, now=NOW)
    assert "  FAIL  credentials   none\n  FAIL  problem       the reason is unknown\n" in none


async def test_hidden_keys() -> None:
    """Names of keys that may be values are counted and not shown; the line names the option that shows them."""
    for count, said in ((1, "1 key "), (3, "3 keys ")):
        secret = await examined(FakeProbe(replace(CONTENTS, keys=None, key_count=count)))
        text = as_text(report_on(secret), colours=False, now=NOW)
        assert f"JSON object with {said}(names hidden because they may be secrets: --keys shows them)" in text
    empty = await examined(FakeProbe(replace(CONTENTS, keys=(), key_count=0)))
    assert "value         JSON object\n" in as_text(report_on(empty), colours=False, now=NOW)


HARMFUL = {
    "\x1b[2Jwiped": "\\x1b[2Jwiped",
    "a\nb": "a\\nb",
    "\u202egnp.exe": "\\u202egnp.exe",
    "\u2066x\u2069": "\\u2066x\\u2069",
    "zero\u200bwidth": "zero\\u200bwidth",
    "join\u200der": "join\\u200der",
    "\ufefflead": "\\ufefflead",
    "soft\xadhyphen": "soft\\xadhyphen",
    "fill\u3164er": "fill\\u3164er",
    "select\ufe0for": "select\\ufe0for",
    "\ud800": "\\ud800",
    "naïve": "naïve",
}


async def test_texts_of_others_are_harmless() -> None:
    """Names, labels and messages that a terminal would obey or hide are escaped; the JSON is ASCII."""
    labels = {"v-2": ("AWSCURRENT", *HARMFUL)}
    for harmful, shown in HARMFUL.items():
        assert printable(harmful) == shown
    contents = replace(CONTENTS, keys=tuple(HARMFUL), version_id="v\u202e")
    secret = replace(await examined(FakeProbe(contents, replace(DESCRIPTION, versions=labels))), asked="db\u202e")
    secret = replace(secret, problems=tuple(HARMFUL))
    report = report_on(secret)
    text = as_text(report, colours=False, now=NOW)
    assert f"with the keys {', '.join(HARMFUL.values())}" in text
    assert f"v-2 AWSCURRENT, {', '.join(HARMFUL.values())}" in text
    assert all(f"problem       {shown}" in text for shown in HARMFUL.values())
    assert "\ndb\\u202e in eu-west-1\n" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert as_json(report).isascii()
    ascii_only = as_text(report, colours=False, now=NOW, encoding="ascii")
    assert "na\\xefve" in ascii_only
    assert ascii_only.isascii()
    (facts,) = json.loads(as_json(report))["secrets"]
    assert (facts["contents"]["keys"], facts["problems"]) == (list(HARMFUL), list(HARMFUL))


@pytest.mark.parametrize("width", [*range(8, 60), 79, 80, 200])
async def test_lines_wrap(width: int) -> None:
    """No line is wider than the terminal, wide characters counted twice; no word is lost; the text keeps its column."""
    odd = replace(CONTENTS, keys=("鍵" * 40, "パスワード", "e\u0301t\u0301e" * 9, "password"))
    stuck = replace(DESCRIPTION, versions={"v-3": ("AWSPENDING",)}, next_rotation_at=NOW - timedelta(days=2))
    endpoint = replace(await endpoint_by(FakeProbe(CONTENTS)), problem="A sentence of some words. And another.")
    report = report_on(
        await examined(FakeProbe(odd, stuck)),
        await examined(FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(absent=("a",), refused=("b",)))),
        endpoints=(endpoint,),
    )
    wrapped = as_text(report, colours=False, now=NOW, width=width)
    # A label can't be broken. The longest one takes 19 columns with its mark.
    assert all(columns(line) <= max(width, 19) for line in wrapped.splitlines())
    whole = as_text(report, colours=False, now=NOW)
    assert "".join(wrapped.split()) == "".join(whole.split())
    beginnings = {len(line) - len(line.lstrip()) for line in wrapped.splitlines() if line.startswith("   ")}
    assert beginnings <= ({8, 22} if width >= 42 else {8, 4})
    assert width >= 200 or beginnings & {22, 4}


def test_columns() -> None:
    """East Asian characters take two columns, combining accents none."""
    assert (columns("key"), columns("鍵"), columns("e\u0301"), columns("\uff21"), columns("")) == (3, 2, 1, 2, 0)


async def test_colours() -> None:
    """Colours mark what is good and what isn't, and change no word."""
    report = report_on(await examined(FakeProbe(DENIED)))
    for width in (None, 50, 30):
        text = as_text(report, colours=True, now=NOW, width=width)
        assert "\x1b[1;31mFAIL\x1b[0m" in text
        for code in ("\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[1m", "\x1b[0m"):
            text = text.replace(code, "")
        assert text == as_text(report, colours=False, now=NOW, width=width)


async def test_as_json() -> None:
    """The JSON is one object with a version, the exit code and every fact; times are ISO 8601."""
    facts = json.loads(as_json(report_on(await examined(FakeProbe(CONTENTS)))))
    assert (facts["version"], facts["exit_code"]) == (1, 0)
    assert set(facts) == {
        "version", "exit_code", "identity", "region", "region_source", "endpoints", "secrets", "problem",
    }  # fmt: skip
    (secret,) = facts["secrets"]
    assert secret["permissions"] == dict.fromkeys(("get", "batch", "describe", "decrypt"), "allowed")
    assert datetime.fromisoformat(secret["contents"]["created_at"]) == CONTENTS.created_at
    assert secret["description"]["versions"] == {"v-1": ["AWSPREVIOUS"], "v-2": ["AWSCURRENT"]}
    assert (secret["contents"]["keys"], secret["contents"]["key_count"]) == (["password", "username"], 2)
