"""What all Python tests share: where the programs and the oracle helpers are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "oracle"))
