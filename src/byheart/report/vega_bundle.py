"""Vega, Vega-Lite and Vega-Embed as one script for a page: the same for every page of one version, and seconds to make.

So it is kept in the user's cache, by version, deflated: a file that was cut short or altered does not inflate, or not to
what its checksum says, and is made anew. Where the cache cannot be read or written the script is made each time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import zlib
from importlib import metadata
from pathlib import Path

from byheart.core.atomic_file import atomic_write

SNIPPET = "window.vegaEmbed = vegaEmbed;"


@functools.cache
def vega_script() -> str:
    """Return the script."""
    place = _cache_path()
    with contextlib.suppress(OSError, zlib.error, UnicodeDecodeError):
        return zlib.decompress(place.read_bytes()).decode()
    import vl_convert

    script = vl_convert.javascript_bundle(SNIPPET)
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(place) as aside:
            aside.write_bytes(zlib.compress(script.encode()))
    return script


def _cache_path() -> Path:
    """Return where the script is kept: in the cache that the user's surroundings name, by version and snippet."""
    # As expanduser and not Path.home(), which raises where nobody has a home.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111 - said above
    told = f"{metadata.version('vl-convert-python')}-{zlib.crc32(SNIPPET.encode()):08x}"
    return cache / "byheart" / f"vega-{told}.js.zz"
