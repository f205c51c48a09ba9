"""Vega, Vega-Lite and Vega-Embed as one script for the page.

The script is the same for every page of one version, and building it takes seconds. So it is cached in the user's cache
folder, by version and deflated. A truncated or altered file fails to inflate or fails its checksum, and is built again.
If the cache cannot be read or written, the script is built each time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import zlib
from importlib import metadata
from pathlib import Path

from byheart.analysis.drawing_space import check_drawing_space
from byheart.core.atomic_file import atomic_write

SNIPPET = "window.vegaEmbed = vegaEmbed;"


@functools.cache
def vega_script() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed."""
    path = _cache_path()
    with contextlib.suppress(OSError, zlib.error, UnicodeDecodeError):
        return zlib.decompress(path.read_bytes()).decode()
    import vl_convert

    check_drawing_space()
    script = vl_convert.javascript_bundle(SNIPPET)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(zlib.compress(script.encode()))
    return script


def _cache_path() -> Path:
    """Return the path of the cached script: in `XDG_CACHE_HOME` or ~/.cache, by version and snippet."""
    # Path.home() raises if the user has no home folder; expanduser does not.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - see the comment above
    version = f"{metadata.version('vl-convert-python')}-{zlib.crc32(SNIPPET.encode()):08x}"
    return cache / "byheart" / f"vega-{version}.js.zz"
