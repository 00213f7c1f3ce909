"""What all Python tests share; modules that they import are in tests/support."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))


@pytest.fixture(scope="session")
def hh():
    from programs import HH

    if not HH.exists():
        pytest.skip("the HH-RLHF pairs are not beside this checkout: they are not part of the product")
    return HH
