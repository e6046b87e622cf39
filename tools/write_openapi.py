"""Write `web/openapi.json`, from which the typed client of the pages is made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from gateway.api.app import create_app
from gateway.context import open_gateway
from gateway.engine import InlineEngine
from gateway.settings import Settings

TARGET = Path(__file__).parents[1] / "web" / "openapi.json"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        gateway = open_gateway(Settings(data_dir=Path(folder)))
        described = create_app(gateway, InlineEngine()).openapi()
        gateway.database.dispose()
    TARGET.write_text(json.dumps(described, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
