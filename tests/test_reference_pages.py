"""The pages in docs/reference/ agree with the code: their tables list what it has, with its defaults."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig

import aiocredentials
from aiocredentials import (
    AsyncCredentialsManager,
    CachePolicy,
    CacheStats,
    CredentialsError,
    CredentialsPool,
    Secret,
    events,
)
from aiocredentials._aws.answered_errors import _BY_CODE
from blocks import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocredentials.testing import MotoServer

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "aiocredentials"

# The tables of methods have a row for this, too.
BLOCKS = {"async with"}

# How an argument's default is written where its value isn't what a reader wants to see.
POLICIES = {
    ("CredentialsPool", "policy"): "`CachePolicy()`",
    ("pool.manager", "policy"): "the pool's",
    ("AsyncCredentialsManager", "policy"): "the pool's, or `CachePolicy()`",
}

# What stands in the column of a function that hasn't the argument.
NO_ARGUMENT = "\N{EN DASH}"

# AWS's actions, and where the code calls them or names the action that it signs.
CALLED = {
    "secretsmanager:GetSecretValue": ("_aws/gateway.py", "client.get_secret_value"),
    "secretsmanager:BatchGetSecretValue": ("_aws/gateway.py", "client.batch_get_secret_value("),
    "secretsmanager:DescribeSecret": ("_aws/gateway.py", "client.describe_secret("),
    "sts:AssumeRole": ("_aws/assuming.py", "client.assume_role("),
    "sqs:ReceiveMessage": ("_eventbridge/sqs.py", '"ReceiveMessage"'),
    "sqs:DeleteMessage": ("_eventbridge/sqs.py", '"DeleteMessageBatch"'),
    "rds-db:connect": ("iam.py", 'service="rds-db"'),
    "elasticache:Connect": ("iam.py", '"Action": "connect"'),
    "memorydb:Connect": ("iam.py", '"memorydb"'),
    # Secrets Manager calls KMS for the caller, who needs the permission.
    "kms:Decrypt": ("errors.py", "kms:Decrypt"),
}
# What the code's documentation names and no policy here is for: AWS's SDK assumes such a role.
NOT_IN_POLICIES = {"sts:AssumeRoleWithWebIdentity"}


def section(page: str, heading: str) -> str:
    """Return the part of a page under a heading, up to the next heading."""
    text = (PAGES / page).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no heading {heading!r}"
    return found[1]


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    table = re.search(r"(?:^\|.*\|\n)+", section(page, heading), re.MULTILINE)
    assert table is not None, f"{page} has no table under {heading!r}"
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names_in(cells: Iterable[str]) -> list[str]:
    """Return the names at the beginning of each code span in some cells."""
    return [name for cell in cells for name in re.findall(r"`(\w+)[^`]*`", cell)]


def public_methods(cls: type) -> set[str]:
    """Return the names of the public functions that a class defines."""
    return {name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")}


def method_rows(cls: type) -> dict[str, list[str]]:
    """Return the row of each method in the table of a class."""
    heading = "Methods of a manager" if cls is AsyncCredentialsManager else "Methods of a pool"
    found: dict[str, list[str]] = {}
    for row in rows("manager-and-pool.md", heading):
        call = re.fullmatch(r"`(?:await )?(async with|\w+)[( ].*`", row[0])
        assert call is not None, row[0]
        found[call[1]] = row
    return found


def test_methods() -> None:
    """The tables of methods have each public method of the manager and the pool, and no other."""
    assert method_rows(AsyncCredentialsManager).keys() == public_methods(AsyncCredentialsManager) | BLOCKS
    assert method_rows(CredentialsPool).keys() == public_methods(CredentialsPool) | BLOCKS


@pytest.mark.parametrize("cls", [AsyncCredentialsManager, CredentialsPool])
def test_methods_are_called_as_shown(cls: type) -> None:
    """The table awaits the coroutines and nothing else, and names each optional argument."""
    for name, row in method_rows(cls).items():
        if name in BLOCKS:
            continue
        method = getattr(cls, name)
        assert row[0].startswith("`await ") == inspect.iscoroutinefunction(method), name
        for parameter in inspect.signature(method).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and name != "manager":
                assert f"{parameter.name}={parameter.default}" in row[0]


def test_permissions() -> None:
    """Each method needs the permissions of Secrets Manager that its docstring names."""
    for cls in (AsyncCredentialsManager, CredentialsPool):
        for name, row in method_rows(cls).items():
            if name in BLOCKS or name == "open":
                assert row[3] == ("none" if cls is AsyncCredentialsManager else "as `prefetch`")
                continue
            documented = re.findall(r"secretsmanager:\w+", getattr(cls, name).__doc__ or "")
            assert set(re.findall(r"secretsmanager:\w+", row[3])) == set(documented), name


@pytest.mark.parametrize(
    ("column", "function"),
    [
        ("CredentialsPool", CredentialsPool.__init__),
        ("pool.manager", CredentialsPool.manager),
        ("AsyncCredentialsManager", AsyncCredentialsManager.__init__),
    ],
)
def test_arguments(column: str, function: Callable[..., object]) -> None:
    """The table of arguments has each argument with its default."""
    columns = ["CredentialsPool", "pool.manager", "AsyncCredentialsManager"]
    listed = {names_in(row[:1])[0]: row[1 + columns.index(column)] for row in rows("manager-and-pool.md", "Arguments")}
    expected: dict[str, str] = dict.fromkeys(listed, NO_ARGUMENT)
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        default = "required" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
        expected[name] = POLICIES.get((column, name), default)
    assert listed == expected


def test_secret() -> None:
    """The table of `Secret` has each public attribute and method."""
    listed = names_in(row[0] for row in rows("manager-and-pool.md", "The `Secret` object"))
    assert sorted(listed) == sorted(name for name in dir(Secret) if not name.startswith("_"))


def test_events() -> None:
    """The table of events has each event with its own attributes."""
    listed = {names_in(row[:1])[0]: names_in(row[2:]) for row in rows("manager-and-pool.md", "Events")}
    common = {field.name for field in dataclasses.fields(events.SecretEvent)}
    assert listed == {
        cls.__name__: [field.name for field in dataclasses.fields(cls) if field.name not in common]
        for cls in events.SecretEvent.__subclasses__()
    }
    assert common == set(
        names_in(re.findall(r"^Each event also has (.*)$", section("manager-and-pool.md", "Events"), re.MULTILINE))
    )


def test_cache_fields() -> None:
    """The table of the policy has each field with its default."""
    listed = {names_in(row[:1])[0]: float(row[1].strip("`")) for row in rows("cache.md", "Every field")}
    assert listed == dataclasses.asdict(CachePolicy())


def test_cache_states() -> None:
    """The tables of the states name defaults of the policy, and all of them but none twice differently."""
    text = section("cache.md", "By state")
    said = {name: float(number) for name, number in re.findall(r"`(\w+)=([\d.]+)`", text)}
    assert said == dataclasses.asdict(CachePolicy())


def test_max_secrets() -> None:
    """The default of `max_secrets` is the constructor's."""
    default = inspect.signature(CredentialsPool).parameters["max_secrets"].default
    assert f"`max_secrets={default}`" in section("cache.md", "`max_secrets`")


def test_stats() -> None:
    """The table of the counts has each of them."""
    listed = names_in(row[0] for row in rows("cache.md", "`stats()`"))
    assert sorted(listed) == sorted(field.name for field in dataclasses.fields(CacheStats))


def test_error_table() -> None:
    """The table of errors has each public error, and states truly whether it is transient."""
    listed = {names_in(row[:1])[0]: row[2] == "yes" for row in rows("errors.md", "All errors")}
    errors = {name for name in aiocredentials.__all__ if name.endswith("Error")} - {"CredentialsError"}
    assert listed == {name: getattr(aiocredentials, name).transient for name in errors}


def test_error_bases() -> None:
    """The page names each error that is a subclass of another one than `CredentialsError`."""
    said = re.findall(r"`(\w+)` is an `(\w+)` as well", section("errors.md", "All errors"))
    errors = [getattr(aiocredentials, name) for name in aiocredentials.__all__ if name.endswith("Error")]
    deeper = [cls for cls in errors if cls not in {CredentialsError, *CredentialsError.__subclasses__()}]
    assert sorted(said) == sorted((cls.__name__, cls.__base__.__name__) for cls in deeper)


def test_error_attributes() -> None:
    """The table of attributes has each one that every error has."""
    error = CredentialsError()
    public = {name for name in dir(error) if not name.startswith("_")} - set(dir(Exception))
    assert set(names_in(row[0] for row in rows("errors.md", "Attributes"))) == public


def test_error_codes() -> None:
    """The table of AWS's codes is the one by which the code chooses the class."""
    listed = {code: names_in(row[:1])[0] for row in rows("errors.md", "Codes of AWS") for code in names_in(row[1:])}
    assert listed == {code: cls.__name__ for code, cls in _BY_CODE.items()}


async def test_region_order(
    moto_environment: MotoServer,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Where everything names another region, the first row counts, then the second, and so on."""
    config_file = tmp_path / "config"
    config_file.write_text("[default]\nregion = eu-north-1\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config_file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_REGION", "eu-south-1")

    arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:missing-AbCdEf"
    manager: dict[str, Any] = {"secret_name": arn, "region_name": "us-west-2"}
    pool: dict[str, Any] = {
        "config": AioConfig(region_name="eu-west-1"),
        "region_name": "eu-west-2",
        "session": aioboto3.Session(region_name="us-east-2"),
    }
    # Each step takes away the source of one row.
    steps: list[Callable[[], object]] = [
        lambda: manager.pop("region_name"),
        lambda: manager.update(secret_name="missing"),
        lambda: pool.pop("config"),
        lambda: pool.pop("region_name"),
        lambda: pool.pop("session"),
        lambda: monkeypatch.delenv("AWS_DEFAULT_REGION"),
        lambda: monkeypatch.delenv("AWS_REGION"),
        lambda: config_file.write_text("", encoding="utf-8"),
    ]
    found = [await source_of_region(pool, manager)]
    for step in steps:
        step()
        found.append(await source_of_region(pool, manager))

    listed = [re.findall(r"`([^`]+)`", row[2])[0] for row in rows("regions.md", "The order")]
    assert [source for _, source in found] == listed
    assert len({region for region, _ in found}) == len(listed)


async def source_of_region(pool: dict[str, Any], manager: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the region that a missing secret was asked in, and where that region was configured."""
    async with CredentialsPool(**pool) as opened:
        with pytest.raises(CredentialsError) as caught:
            await opened.manager(**manager).get()
    return caught.value.region_name, caught.value.region_source


def filled(template: ast.expr, words: dict[str, str]) -> str:
    """Return the text of an f-string, with the values of the variables that are constants."""
    text = ast.unparse(template)[2:-1]
    return re.sub(r"\{(\w+)\}", lambda name: words.get(name[1], name[0]), text)


def texts_of_records() -> list[tuple[str, str]]:
    """Return the level and the format of each record that the library logs to its own logger."""
    found: list[tuple[str, str]] = []
    for file in sorted(SOURCE.rglob("*.py")):
        # In this file, the logger is the user's.
        if file.name == "decorator.py":
            continue
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        words: dict[str, str] = {}
        for node in nodes:
            match node:
                case ast.Assign([ast.Name(name)], ast.Constant(str() as text)):
                    words[name] = text
        for node in nodes:
            match node:
                case ast.Call(ast.Attribute(ast.Name("logger"), name), [ast.Constant(str() as text), *_]):
                    found.append(("ERROR" if name == "exception" else name.upper(), text))
                case ast.Call(ast.Name("_Log"), [], [failed, succeeded]):
                    # The two texts about a queue, which end with its address.
                    found.append(("WARNING", filled(failed.value, words)))
                    found.append(("INFO", filled(succeeded.value, words)))
                case ast.Call(ast.Attribute(ast.Name("logger"), name), [ast.Name(at), *_]) if at in words:
                    found.append((name.upper(), words[at]))
    # Some records consist of a text that comes from elsewhere.
    return [(level, text) for level, text in found if re.search(r"[A-Za-z]{3}", re.sub(r"%\S+", "", text))]


def test_records() -> None:
    """The table of the log has a row for each text that the code logs, with its level, and no other row."""
    texts = texts_of_records()
    listed = [
        (row[0], re.compile(".*".join(map(re.escape, span.split("…")))))
        for row in rows("logging.md", "Every record")
        for span in re.findall(r"`(.+?)`", row[1])
    ]
    missing = [text for at, text in texts if not any(at == level and span.match(text) for level, span in listed)]
    assert missing == []
    unknown = [span for level, span in listed if not any(at == level and span.match(text) for at, text in texts)]
    assert unknown == []


def policies() -> list[tuple[str, dict[str, Any]]]:
    """Return each statement of the policies, with the place of its block."""
    found: list[tuple[str, dict[str, Any]]] = []
    for block in blocks_of(PAGES / "iam-policies.md", "json"):
        policy = json.loads(block.text)
        # A key policy is long, so the page shows one statement of it.
        statements = policy.get("Statement", [policy])
        assert policy.get("Version", "2012-10-17") == "2012-10-17"
        found += [(str(block), statement) for statement in statements]
    return found


def each(value: str | list[str]) -> list[str]:
    """Return the actions or resources of a statement, which may be one or several."""
    return [value] if isinstance(value, str) else value


def test_policies() -> None:
    """Each statement allows actions, on an ARN or on everything; a trust policy names no resource."""
    for place, statement in policies():
        assert statement.keys() <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}, place
        # AWS accepts no other characters in the name of a statement.
        assert re.fullmatch(r"[A-Za-z0-9]*", statement.get("Sid", "")), place
        assert statement["Effect"] == "Allow"
        resources = each(statement.get("Resource", []))
        assert resources or "Principal" in statement, place
        for resource in resources:
            assert resource == "*" or re.fullmatch(
                r"arn:aws:[a-z-]+:[a-z0-9-]*:\d{12}:\S+|arn:aws:iam::\d{12}:\S+", resource
            )
            # An ARN of one service in a statement for another one never matches.
            services = {action.split(":")[0] for action in each(statement["Action"])}
            assert resource == "*" or resource.split(":")[2] in services | {"iam"}, place


def test_policy_actions() -> None:
    """The policies allow the actions that the code calls, all of them and no other."""
    allowed = {action for _, statement in policies() for action in each(statement["Action"])}
    assert allowed == CALLED.keys()
    for action, (file, call) in CALLED.items():
        assert call in (SOURCE / file).read_text(encoding="utf-8"), action


def test_named_actions() -> None:
    """Each action that a docstring or an error names is in a policy, and in the first table."""
    services = "|".join(sorted({action.split(":")[0] for action in CALLED}))
    named: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        named |= set(re.findall(rf"\b(?:{services}):[A-Za-z]+", file.read_text(encoding="utf-8")))
    # This one is a key of a condition.
    named -= {"sts:ExternalId"}
    assert named - NOT_IN_POLICIES <= CALLED.keys()
    table = "\n".join(row[1] for row in rows("iam-policies.md", "IAM policies"))
    assert set(re.findall(r"`([\w-]+:\w+)`", table)) == CALLED.keys()


def test_calls_per_month() -> None:
    """The table of prices follows from the policy's defaults and AWS's prices."""
    policy = CachePolicy()
    ahead = policy.refresh_ahead or 1
    pause = float(policy.ttl) * (1 - policy.jitter / 2) * ahead + 5  # type: ignore[arg-type]
    assert f"every {pause:.0f} s on average" in section("costs.md", "Money")
    month = 365.25 / 12 * 24 * 3600
    for row in rows("costs.md", "Money"):
        processes, secrets, calls, for_calls, for_secrets, total = (
            float(cell.strip("$").replace(",", "")) for cell in row
        )
        exact = month / pause * processes * secrets
        assert calls == pytest.approx(exact, rel=0.01)
        assert for_calls == pytest.approx(exact * 0.05 / 10_000, abs=0.005)
        assert for_secrets == pytest.approx(secrets * 0.4)
        assert total == pytest.approx(exact * 0.05 / 10_000 + secrets * 0.4, abs=0.006)


def test_measured_costs() -> None:
    """The rounded figures are those of the benchmarks: within a quarter, because another run differs."""
    units = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1, "KiB": 2**10, "MiB": 2**20}
    measured: dict[str, float] = {}
    for line in (PAGES / "benchmarks.md").read_text(encoding="utf-8").splitlines():
        figure = re.match(r"\| \*\*(.+?)\*\* \| \*\*([\d.]+) (\w+)\*\* \| ", line)
        if figure is not None:
            measured[figure[1]] = float(figure[2]) * units[figure[3]]
    for _, about, name in rows("costs.md", "Memory and CPU"):
        number, unit = about.split()
        assert float(number) * units[unit] == pytest.approx(measured[name], rel=0.25), name


def test_installed_packages() -> None:
    """The number of packages that an installation brings is that of the benchmarks' environment."""
    versions = (PAGES / "benchmarks.md").read_text(encoding="utf-8")
    (packages,) = re.findall(r"^- aiocredentials: (.+)$", versions, re.MULTILINE)
    others = len(packages.split(", ")) - 1
    assert f"{others} other packages" in section("costs.md", "Installation")
