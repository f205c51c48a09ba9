"""Adds to the site the page of every packed study in docs/, and a link to it after each link to the study.

A hook of mkdocs: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import re
import tarfile
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from byheart.store.store import Store
from byheart.study.study_report import report_page

PACKED = "study.tar.xz"
LINK = re.compile(rf"\[[^\]]+\]\(((?:[^)\s]+/)?){re.escape(PACKED)}\)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the page of each packed study next to it."""
    for packed in [f for f in files if f.name == PACKED.removesuffix(".xz") and f.src_uri.endswith(PACKED)]:
        with tempfile.TemporaryDirectory() as folder, tarfile.open(str(packed.abs_src_path)) as archive:
            archive.extractall(folder, filter="data")
            page = report_page(Store.open(Path(folder)), None, Path(folder) / "report.html").read_text(encoding="utf-8")
        files.append(File.generated(config, packed.src_uri.replace(PACKED, "report.html"), content=page))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Add the page's link after each link to a packed study."""
    return LINK.sub(lambda link: f"{link[0]} ([its page]({link[1]}report.html))", markdown)
