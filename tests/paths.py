"""Where the project and the shared corpora are, for every test.

Owns: the two paths. The corpora lie beside the checkout and are never part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parents[1]
SHARED: Final = PROJECT.parent / "shared"
