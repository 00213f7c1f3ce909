"""A browser, and the page of `metarm serve` with made-up answers behind it."""

import pytest
from aligning_server import make_setting
from browser import browser_of_a_session
from dashboard_page import ADMIN_KEY, SCORE_KEY
from dashboard_server import DashboardServer
from reward_server import RewardServer
from served_model import save_model


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    yield from browser_of_a_session(tmp_path_factory)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "rm"
    save_model(folder)
    return folder


@pytest.fixture(scope="session")
def page(model):
    """(page, headers) of the real server."""
    with RewardServer("--model", model) as server:
        answer = server.send("/")
    assert answer.status == 200
    return answer.text.encode(), {name: answer.headers[name] for name in ("Content-Type", "Content-Security-Policy")}


@pytest.fixture
def fake(page):
    with DashboardServer(*page) as server:
        yield server


@pytest.fixture
def keyed(page):
    with DashboardServer(*page, keys={SCORE_KEY: "score", ADMIN_KEY: "admin"}) as server:
        yield server


@pytest.fixture(scope="session")
def setting(tmp_path_factory):
    return make_setting(tmp_path_factory.mktemp("setting"))
