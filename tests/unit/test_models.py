"""botocore's models as our sessions read them: once, the files that are needed, and only what is called."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from aiobotocore.session import AioSession
from botocore import loaders
from botocore.exceptions import EndpointVariantError, UnknownServiceError
from botocore.regions import EndpointResolver

from aiocredentials._aws import aiosession, emitters, models
from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from unit.lending import opened

BUILTIN = loaders.Loader.BUILTIN_DATA_PATH
MODEL = ("secretsmanager", "service-2")
RULES = ("secretsmanager", "endpoint-rule-set-1")


def ours(*folders: str) -> models._SharedLoader:
    """Make a loader as our sessions have one, with folders of the user's own."""
    return models._SharedLoader(list(folders), file_loader=models._JSONFileLoader())


def own_model(folder: Path, service: str, version: str, operations: dict[str, Any]) -> None:
    """Write a service's model, as a user has one in `AWS_DATA_PATH` or `~/.aws/models`."""
    place = folder / service / version
    place.mkdir(parents=True)
    document = {"metadata": {"apiVersion": version}, "operations": operations}
    (place / "service-2.json").write_text(json.dumps(document), encoding="utf-8")


class TestKnownServices:
    """Whether a service exists is found in its own folder."""

    def test_not_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """To load the models of a service, no folder of any other service is read."""
        read: list[str] = []

        def listdir(path: str) -> list[str]:
            read.append(os.path.relpath(path, BUILTIN))
            return original(path)

        original = os.listdir
        monkeypatch.setattr(loaders.os, "listdir", listdir)
        loader = ours()
        for service, kind in (MODEL, RULES, ("sts", "service-2")):
            loader.load_service_model(service, kind)
        assert set(read) == {"secretsmanager", "sts"}

    def test_an_unknown_service(self) -> None:
        """One that isn't there is botocore's own error, in its own words, which list the others."""
        messages = []
        for loader in (ours(), loaders.Loader()):
            with pytest.raises(UnknownServiceError) as info:
                loader.load_service_model("secretmanager", "service-2")
            messages.append(str(info.value))
        assert messages[0] == messages[1]
        assert "secretsmanager" in messages[0]
        # A service may have one type of models and lack another.
        with pytest.raises(UnknownServiceError):
            ours().load_service_model("secretsmanager", "resources-1")

    def test_models_of_the_users(self, tmp_path: Path) -> None:
        """A folder of the user's adds services, and newer versions of those that there are."""
        own_model(tmp_path, "mine", "2020-01-01", {"Ask": {}})
        own_model(tmp_path, "secretsmanager", "2999-01-01", {"GetSecretValue": {"name": "GetSecretValue"}, "Other": {}})
        loader = ours(str(tmp_path))
        assert loader.load_service_model("mine", "service-2")["operations"] == {"Ask": {}}
        assert loader.load_service_model(*MODEL)["metadata"] == {"apiVersion": "2999-01-01"}
        assert list(loader.load_service_model(*MODEL)["operations"]) == ["GetSecretValue"]

    def test_a_folder_that_is_named_like_the_service(self, tmp_path: Path) -> None:
        """A model's own folder says whose it is, not a folder above it: that of the installation may have any name."""
        above = tmp_path / "secretsmanager"
        own_model(above, "sts", "2999-01-01", {"AssumeRole": {"name": "AssumeRole"}})
        model = ours(str(above)).load_service_model("sts", "service-2")
        assert list(model["operations"]) == ["AssumeRole"]

    def test_where_users_put_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The loader of our sessions looks where botocore looks."""
        monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
        theirs = list(AioSession().get_component("data_loader").search_paths)
        assert theirs == [str(tmp_path), *models.loader.search_paths]


class TestFiles:
    """Reading a file."""

    @pytest.mark.parametrize("name", ["partitions", "sdk-default-configuration", "_retry"])
    def test_the_same_content(self, name: str) -> None:
        """Plain dicts have the content of botocore's ordered ones, in the same order."""
        read = ours().load_data(name)
        assert json.dumps(read) == json.dumps(loaders.Loader().load_data(name))
        assert type(read) is dict

    def test_other_threads_may_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Python function is called for each object of a file: between two of them, other threads get their turn."""
        made: list[Any] = []

        def note(one: Any) -> Any:  # noqa: ANN401 (a JSON object)
            made.append(one)
            return one

        monkeypatch.setattr(models, "_unchanged", note)
        partitions = ours().load_data("partitions")
        assert made[-1] is partitions
        assert len(made) > 50

    def test_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each file is read once, however many sessions and clients need it."""
        read: list[str] = []

        class Counting(models._JSONFileLoader):
            def _load_file(self, full_path: str, open_method: Any) -> Any:  # noqa: ANN401 (botocore's)
                if Path(full_path).is_file():
                    read.append(full_path)
                return super()._load_file(full_path, open_method)

        loader = models._SharedLoader(file_loader=Counting())
        monkeypatch.setattr(aiosession, "loader", loader)
        for _ in range(3):
            core = aiosession.TrustedAioSession()
            used = core.get_component("data_loader")
            used.load_data("endpoints")
            used.load_service_model(*MODEL)
        assert len(read) == len(set(read)) > 1

    def test_a_model_of_the_users(self, tmp_path: Path) -> None:
        """Models are found where the loader looks, and one that isn't there is none."""
        (tmp_path / "model.json").write_text('{"b": 1, "a": {"c": 2}}', encoding="utf-8")
        read = models._JSONFileLoader().load_file(str(tmp_path / "model"))
        assert list(read) == ["b", "a"]
        assert models._JSONFileLoader().load_file(str(tmp_path / "missing")) is None


class TestOperations:
    """The clients of our sessions have the operations that are called."""

    async def test_ours(self) -> None:
        """They have these three, complete, and a name for each; botocore makes a method for each one per client."""
        async with opened(SessionPerCall(ClientSettings())) as (client, _):
            model = client.meta.service_model
            assert set(model.operation_names) == set(models.OPERATIONS)
            assert set(client.meta.method_to_api_mapping.values()) == set(models.OPERATIONS)
            full = loaders.Loader().load_service_model(*MODEL)
            for name in models.OPERATIONS:
                assert model.operation_model(name)._operation_model == full["operations"][name]
            assert not hasattr(client, "list_secrets")

    async def test_the_callers(self) -> None:
        """A session of the caller's keeps its loader, and its clients have all operations."""
        session = aioboto3.Session()
        async with opened(SessionPerCall(ClientSettings(session=session))) as (client, _):
            assert {"ListSecrets", "PutSecretValue"} < set(client.meta.service_model.operation_names)
        assert not isinstance(session._session.get_component("data_loader"), models._SharedLoader)

    def test_other_services(self) -> None:
        """The services of the credential chain are complete."""
        for service in ("sts", "sso", "sso-oidc"):
            full = loaders.Loader().load_service_model(service, "service-2")
            assert ours().load_service_model(service, "service-2") == full

    def test_the_rest_of_the_model(self) -> None:
        """What a model has beside its operations stays."""
        full = loaders.Loader().load_service_model(*MODEL)
        assert {**ours().load_service_model(*MODEL), "operations": None} == {**full, "operations": None}
        assert len(full["operations"]) > len(models.OPERATIONS)

    def test_a_model_without_them(self, tmp_path: Path) -> None:
        """A model of the user's that has no operations is no error here."""
        own_model(tmp_path, "secretsmanager", "2999-01-01", {})
        loader = ours(str(tmp_path))
        assert loader.load_service_model(*MODEL)["operations"] == {}
        place = tmp_path / "secretsmanager" / "2999-01-01" / "service-2.json"
        place.write_text('{"metadata": {}}', encoding="utf-8")
        assert ours(str(tmp_path)).load_service_model(*MODEL) == {"metadata": {}}


class TestEndpoints:
    """botocore's list of endpoints, of which our sessions keep those of the services that they call."""

    def test_the_same_answers(self) -> None:
        """For each service of ours and each region, botocore resolves the same endpoint as with its full list."""
        full = EndpointResolver(loaders.Loader().load_data("endpoints"))
        reduced = EndpointResolver(ours().load_data("endpoints"))
        regions = [region for part in full._endpoint_data["partitions"] for region in part["regions"]]
        variants = [(False, False), (True, False), (False, True)]
        for region in [*regions, "mars-north-1", "aws-global", "eu-west-9"]:
            for service in models.ENDPOINTS:
                for dualstack, fips in variants:
                    answers = [answer_of(resolver, service, region, dualstack, fips) for resolver in (full, reduced)]
                    assert answers[0] == answers[1]
        assert full.get_available_partitions() == reduced.get_available_partitions()

    def test_all_services(self) -> None:
        """The list has each service whose client a session of ours may make, under its name there."""
        loader = loaders.Loader()
        for service in emitters._SERVICES & set(loader.list_available_services("service-2")):
            metadata = loader.load_service_model(service, "service-2")["metadata"]
            assert metadata["endpointPrefix"] in models.ENDPOINTS

    def test_few(self) -> None:
        """Nothing else is kept: neither in memory, nor for the garbage collector to look through."""
        for partition in ours().load_data("endpoints")["partitions"]:
            assert set(partition["services"]) <= set(models.ENDPOINTS)

    @pytest.mark.parametrize("content", ["{}", '{"partitions": []}', '{"partitions": [{"partition": "mine"}]}'])
    def test_a_list_of_the_users(self, tmp_path: Path, content: str) -> None:
        """A list of the user's that has another form is for botocore to accept or to refuse."""
        (tmp_path / "endpoints.json").write_text(content, encoding="utf-8")
        read = ours(str(tmp_path)).load_data("endpoints")
        assert read == json.loads(content)


def answer_of(resolver: EndpointResolver, service: str, region: str, dualstack: bool, fips: bool) -> object:  # noqa: FBT001 (botocore's)
    """Give what a resolver answers, or its error."""
    try:
        return resolver.construct_endpoint(service, region, use_dualstack_endpoint=dualstack, use_fips_endpoint=fips)
    except EndpointVariantError as error:
        return str(error)
