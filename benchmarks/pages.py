"""What the scripts here write into the documents."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def fill(page: Path, name: str, text: str) -> None:
    """Put a text between the marks of a page."""
    marks = f"<!-- {name} -->", f"<!-- /{name} -->"
    old = page.read_text(encoding="utf-8")
    new, times = re.subn(
        f"{marks[0]}.*?{marks[1]}",
        lambda _: f"{marks[0]}\n{text}\n{marks[1]}",
        old,
        flags=re.DOTALL,
    )
    if not times:
        sys.exit(f"{page}: has no place for {name}")
    page.write_text(new, encoding="utf-8")
