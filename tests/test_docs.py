"""The pages in docs/ say what is so: their code runs, and their links lead somewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from botocore.session import Session

from aiocredentials import testing
from aiocredentials._eventbridge import sqs
from blocks import FENCED, blocks_of, is_as_promised, promised_by, runner
from integrations.iam_fixtures import iam_keys, iam_trust
from integrations.iam_page import iam_servers
from integrations.mariadb import mariadb_authority, mariadb_server
from integrations.mariadb_server import ADMIN, ADMIN_PASSWORD
from integrations.postgres import postgres_server
from integrations.redis_fixtures import redis_program, redis_server
from server.agent_stub import TOKEN, AgentStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_postgres import LocalPostgres

    from aiocredentials.testing import MotoServer
    from integrations.mariadb_server import LocalMariaDB
    from integrations.redis_server import RedisServer
    from server.certificates import Authority

# fixtures
__all__ = [
    "iam_keys",
    "iam_servers",
    "iam_trust",
    "mariadb_authority",
    "mariadb_server",
    "postgres_server",
    "redis_program",
    "redis_server",
]

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md"))}
# What reads on, from the README: all of it is in a checkout, and not all in an sdist.
LINKING = [*sorted(ROOT.glob("*.md")), *PAGES.values()]

# Pages that only the site shows whole: parts of the API, and files of the root. They have no code of their own.
OF_THE_SITE = {name for name in PAGES if name.startswith(("project/", "reference/api/"))}

# Pages whose blocks aren't the parts of one program, and the tests that run them.
ELSEWHERE = {
    "how-to/engines.md": "integrations/test_engines.py",
    "tutorial.md": "test_tutorial.py",
    "how-to/frameworks.md": "integrations/test_frameworks.py",
    "how-to/lambda.md": "integrations/test_lambda.py",
    "how-to/sync-code.md": "integrations/test_sync_code.py",
    "how-to/testing.md": "kit/test_how_to.py",
    "how-to/doctor.md": "server/test_doctor_page.py",
}
# What else a page asks for: fixtures, each of which says what the page's blocks have to have in the place of what.
FIXTURES = {
    "how-to/aurora-and-proxies.md": ["postgres_secret", "aurora"],
    "how-to/databases.md": ["postgres_secret"],
    "how-to/iam.md": ["iam_servers"],
    "how-to/local-agent.md": ["local_agent"],
    "how-to/mysql.md": ["mysql_secret"],
    "how-to/redis.md": ["redis_secret"],
    "how-to/roles.md": ["partner_secret"],
    "how-to/rotation-push.md": ["rotation_queue"],
    "how-to/settings.md": ["token_secret"],
    "reference/logging.md": ["loggers"],
}

DATABASE = {"username": "app", "password": "mock_password", "host": "db.example", "port": 5432}
REGIONS = ("us-east-1", "eu-west-1")

is_checkout = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has all pages")


@pytest.fixture
def secrets(moto_environment: object, create_secret: Callable[..., dict[str, Any]]) -> None:  # noqa: ARG001
    """Create the secret that the pages ask for, in the regions where they ask."""
    for region in REGIONS:
        create_secret("prod/database", json.dumps(DATABASE), region)


@pytest.fixture
def token_secret(create_secret: Callable[..., dict[str, Any]]) -> dict[str, str]:
    """Create a second secret; the FastAPI page shows what it is like when that one is missing."""
    create_secret("prod/redis", json.dumps({"password": "mock_password"}), "eu-west-1")
    return {}


@pytest.fixture
def partner_secret(moto_environment: MotoServer) -> dict[str, str]:
    """Create a secret in the account of the partner's role."""
    session = Session()
    role = "arn:aws:iam::210987654321:role/reader"
    with closing(session.create_client("sts", "eu-west-1", endpoint_url=moto_environment.url)) as sts:
        keys = sts.assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
    session.set_credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    with closing(session.create_client("secretsmanager", "eu-west-1", endpoint_url=moto_environment.url)) as client:
        client.create_secret(Name="partner/token", SecretString=json.dumps({"token": "mock_token"}))
    return {}


@pytest.fixture
def local_agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Start an agent that has the secret, in a thread, and put its token into the environment."""
    monkeypatch.setenv("AWS_TOKEN", TOKEN)
    stub = AgentStub(region="eu-west-1", secrets={"prod/database": json.dumps(DATABASE)})
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.run_until_complete(stub.__aenter__())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield {"http://localhost:2773": stub.url}
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(stub.__aexit__())


@pytest.fixture
def rotation_queue(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Create the queue of the page, and give the page its address."""
    # moto goes on with a long poll whose client is gone.
    monkeypatch.setattr(sqs, "LONG_POLL", 1)
    # A second server takes seconds to start.
    monkeypatch.setattr(testing, "MotoServer", lambda: nullcontext(moto))
    with closing(Session().create_client("sqs", "eu-west-1", endpoint_url=moto.url)) as client:
        client.create_queue(QueueName="rotation-push-rotations-Orders1")
    return {"https://sqs.eu-west-1.amazonaws.com": moto.url}


@pytest.fixture
def loggers() -> Iterator[dict[str, str]]:
    """Take from the loggers again what the page gives them."""
    names = ("aiocredentials", "service")
    before = {name: (logging.getLogger(name).level, [*logging.getLogger(name).handlers]) for name in names}
    yield {}
    for name, (level, handlers) in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers[:] = handlers


@pytest.fixture
def postgres_secret(postgres_server: LocalPostgres, secrets_client: Callable[..., Any]) -> dict[str, str]:
    """Give PostgreSQL the role that the secret is for, and the secret the server's address."""
    asyncpg = pytest.importorskip("asyncpg")
    where = {"host": postgres_server.host, "port": postgres_server.port}

    async def create_role() -> None:
        connection = await asyncpg.connect(**where, user="postgres", password=postgres_server.password)
        await connection.execute("DROP ROLE IF EXISTS app")  # another test's, on the same server
        await connection.execute("CREATE ROLE app LOGIN PASSWORD 'mock_password'")
        await connection.close()

    asyncio.run(create_role())
    value = json.dumps({**DATABASE, **where, "dbname": "postgres"})
    secrets_client("eu-west-1").put_secret_value(SecretId="prod/database", SecretString=value)
    return {}


@pytest.fixture
def aurora(postgres_server: LocalPostgres, create_secret: Callable[..., dict[str, Any]]) -> dict[str, str]:
    """Give the page the one server for all endpoints, without TLS, and the secret of the master user."""
    create_secret("rds!db-033d7456-2c96-450d-9d48-f5de3025e51c", json.dumps(DATABASE), "eu-west-1")
    region = ".eu-west-1.rds.amazonaws.com"
    names = ("shop.cluster-ro-c7tj4example", "shop.proxy-c7tj4example", "shop.c7tj4example")
    replaced = {f"{name}{region}": postgres_server.host for name in names}
    return {**replaced, "ssl=tls": "ssl=False", '"port": 5432': f'"port": {postgres_server.port}'}


@pytest.fixture
def mysql_secret(
    mariadb_server: LocalMariaDB, mariadb_authority: Authority, secrets_client: Callable[..., Any]
) -> dict[str, str]:
    """Give MariaDB the user that the secret is for, the secret the server's address, and the page the certificate."""
    aiomysql = pytest.importorskip("aiomysql")
    pytest.importorskip("asyncmy")
    pytest.importorskip("greenlet")
    where = {"host": mariadb_server.host, "port": mariadb_server.port}

    async def create_user() -> None:
        connection = await aiomysql.connect(**where, user=ADMIN, password=ADMIN_PASSWORD)
        async with connection.cursor() as cursor:
            await cursor.execute("CREATE OR REPLACE USER app@'%' IDENTIFIED BY 'mock_password'")
            await cursor.execute("GRANT ALL ON *.* TO app@'%'")
        await connection.ensure_closed()

    asyncio.run(create_user())
    value = json.dumps({**DATABASE, **where, "dbname": "app"})
    secrets_client("eu-west-1").put_secret_value(SecretId="prod/database", SecretString=value)
    return {"global-bundle.pem": str(mariadb_authority.bundle)}


@pytest.fixture
def redis_secret(redis_server: RedisServer, create_secret: Callable[..., dict[str, Any]]) -> dict[str, str]:
    """Give Valkey the user that the secret is for, and the page the port of the server."""
    redis = pytest.importorskip("redis")
    with redis.Redis(port=redis_server.port, password=redis_server.admin_password) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", "resetpass", ">mock_password", "~*", "&*", "+@all")
    create_secret("prod/redis", json.dumps({"username": "app", "password": "mock_password"}), "eu-west-1")
    return {"6379": str(redis_server.port)}


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("name", [name for name in PAGES if name not in OF_THE_SITE | ELSEWHERE.keys()])
def test_page(name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of a page run one after the other, and each prints what the comments after its arrows say."""
    replaced: dict[str, str] = {}
    for fixture in FIXTURES.get(name, []):
        replaced |= request.getfixturevalue(fixture)
    with runner("page") as (_, run):
        for block in blocks_of(PAGES[name]):
            if block.language == "sh":
                continue  # see test_install_lines.py
            if block.language == "json":
                json.loads(block.text)
                continue
            assert block.language in {"python", "diff"}, f"{block}: nothing here runs {block.language}"
            code = block.left() if block.language == "diff" else block
            run(code.replaced(replaced))
            printed = capsys.readouterr().out
            assert is_as_promised(promised_by(code), printed), f"{block} printed: {printed}"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_elsewhere(name: str) -> None:
    """A page that isn't run here is there, and another test reads it."""
    assert name in PAGES
    assert Path(name).name in (ROOT / "tests" / ELSEWHERE[name]).read_text()


def test_index() -> None:
    """The index leads to each page, and to the list of the API's modules."""
    linked = {target for target, _ in links(PAGES["index.md"])}
    assert linked >= PAGES.keys() - OF_THE_SITE - {"index.md"} | {"reference/api/index.md"}


@is_checkout
@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Each link to a file, or to a heading, leads to one that is there."""
    for target, anchor in links(page):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        assert file.is_relative_to(ROOT), f"{page.name} links to {target}, outside of the repository"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


def links(page: Path) -> list[tuple[str, str]]:
    """Return the file and the heading that each link within the repository leads to."""
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", page.read_text()))
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text)
    return [(unquote(target), anchor) for target, anchor in found if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+?)\s*$", FENCED.sub("", page.read_text()), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)  # of a link in a heading, the text
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)
