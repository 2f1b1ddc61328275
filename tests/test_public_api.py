"""What `from tuspy_server import …` offers: a promise to applications, each part with its documentation."""

from __future__ import annotations

import inspect
import re

import pytest

import tuspy_server
from tuspy_server import (
    Creation,
    Event,
    Grant,
    Proposal,
    RequestContext,
    Settings,
    StoredUpload,
    TusError,
    TusServer,
    Upload,
    UploadGone,
    UploadNotFound,
)

OFFERED = {
    "Creation",
    "Event",
    "EventType",
    "Forbidden",
    "Grant",
    "Intent",
    "Proposal",
    "Refused",
    "RequestContext",
    "Settings",
    "StoredUpload",
    "TusError",
    "TusServer",
    "Unauthorized",
    "Upload",
    "UploadGone",
    "UploadNotFound",
    "UploadStatus",
    "Webhook",
    "__version__",
}
METHODS = {
    "app", "authorize", "check", "drain", "find", "lifespan", "on", "path", "pre_create", "pre_finish", "pre_terminate",
    "read", "render_metrics", "start", "stop", "sweep", "terminate",
}  # fmt: skip


def test_the_package_offers_what_it_promises() -> None:
    assert set(tuspy_server.__all__) == OFFERED
    assert all(hasattr(tuspy_server, name) for name in OFFERED)


def test_the_server_offers_what_it_promises() -> None:
    assert {name for name in dir(TusServer) if not name.startswith("_")} == METHODS


@pytest.mark.parametrize("name", sorted(OFFERED - {"__version__"}))
def test_each_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(tuspy_server, name))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_each_method_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(TusServer, name))


@pytest.mark.parametrize("row", [Upload, Event, Creation, Grant, Proposal, RequestContext, StoredUpload])
def test_each_field_of_a_row_is_documented(row: type) -> None:
    documented = inspect.getdoc(row) or ""
    assert [name for name in row.__annotations__ if f"{name}: " not in documented] == []


def test_each_setting_is_documented() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_errors_are_of_one_family() -> None:
    assert issubclass(UploadGone, TusError)
    assert issubclass(UploadNotFound, TusError)


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d+)?", tuspy_server.__version__)
