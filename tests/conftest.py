"""What all Python tests share; modules that they import are in tests/support."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))


def pytest_configure(config):
    """An exception that a thread ends with fails the test, rather than warning only."""
    config.addinivalue_line("filterwarnings", "error::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(scope="session")
def hh():
    from programs import HH

    if not HH.exists():
        pytest.skip(f"the HH-RLHF pairs are not at {HH}: they are not part of the product; METARM_HH_DATA names their folder")
    return HH
