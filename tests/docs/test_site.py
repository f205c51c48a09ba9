"""The site: built strictly and offline, with every page in its menu and no requests to other hosts."""

import functools
import re
import socket
import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from ruamel.yaml import YAML

from testing.doc_pages import DOCS, ROOT

FETCHED = {
    "img": "src",
    "script": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "link": "href",
    "object": "data",
}
"""What a reader's browser fetches by itself; a link that is clicked is none of these."""


def written(folder, **changes):
    """Build the site into a folder as `make site` does; a network request is an error."""

    def refused(*_):
        raise AssertionError("the site is built without a network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refused)
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), **changes)
        config.plugins.on_startup(command="build", dirty=False)
        try:
            build(config)
        finally:
            config.plugins.on_shutdown()
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return written(tmp_path_factory.mktemp("site"))


class Fetched(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        reported = dict(attrs)
        where = reported.get(FETCHED.get(tag, ""))
        if where and reported.get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(where)


def test_every_page_is_in_the_menu_once():
    def leaves(menu):
        for entry in menu:
            value = next(iter(entry.values()))
            yield from leaves(value) if isinstance(value, list) else [value]

    menu = list(leaves(YAML(typ="safe").load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(menu) == sorted(str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md"))


@pytest.mark.slow
def test_the_site_contains_every_page_and_linked_file(site):
    for page in DOCS.rglob("*.md"):
        file = page.relative_to(DOCS).with_suffix(".html")
        assert (site / (file.with_name("index.html") if file.stem == "README" else file)).is_file()
    assert (site / "repository" / "examples" / "finetune.py").read_text() == (ROOT / "examples/finetune.py").read_text()
    assert 'href="repository/studies/defences.yaml"' in (site / "defences.html").read_text()
    assert (site / "results" / "six_methods" / "rows.csv").is_file()
    assert not list(site.glob("*.py"))


@pytest.mark.slow
def test_a_packed_study_is_next_to_its_page(site, browser):
    assert 'href="results/attacks/report.html"' in (site / "report.html").read_text()
    page = browser.new_page()
    page.goto((site / "results" / "attacks" / "report.html").as_uri())
    page.wait_for_selector("html[data-ready=true]", timeout=60_000)
    page.close()


@pytest.mark.slow
def test_tables_and_code_of_the_contributors_page_are_rendered(site):
    made = (site / "contributing.html").read_text()
    assert made.count('class="filename"') == 7
    assert "<table>" in made
    assert "```" not in made


@pytest.mark.slow
def test_pages_and_styles_load_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        outside = [f for f in Fetched(page.read_text()).found if re.match(r"(\w+:)?//", f)]
        assert not outside, page.relative_to(site)
    for style in site.rglob("*.css"):
        text = style.read_text()
        assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//", text), style.name
        assert not re.findall(r"@import[^;]*//", text), style.name


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@contextmanager
def offered(folder):
    """Serve a folder as `python -m http.server` does, and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_in_a_browser_search_works_and_nothing_is_loaded_from_other_hosts(site, browser):
    with offered(site) as address:
        page = browser.new_page()
        requested, faults = [], []
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}index.html")
        box, wanted = (
            page.get_by_role("textbox", name="Search"),
            page.locator(".md-search-result__link[href*='defences']"),
        )
        for _ in range(20):  # keys typed before the page's script listens are lost
            box.fill("")
            box.press_sequentially("goldfish")
            page.wait_for_timeout(1_000)
            if wanted.count():
                break
        assert wanted.count()
        page.close()
    assert faults == []
    assert [url for url in requested if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize(
    ("text", "menu"),
    [
        ("[gone](gone.md)", ["index.md"]),
        ("[no such place](#nowhere)", ["index.md"]),
        ("[no such place](other.md#nowhere)", ["index.md", "other.md"]),
        ("![no picture](gone.svg)", ["index.md"]),
        ("[no such file](../gone.py)", ["index.md"]),
        ("[from the root](/index.md)", ["index.md"]),
        ("A page that no menu holds.", ["index.md"]),
        ("A menu that holds no page.", ["index.md", "other.md", "gone.md"]),
    ],
)
def test_a_broken_link_fails_the_build(tmp_path, text, menu):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(f"# One\n\n{text}\n")
    if "other.md" in menu or text.startswith("A page"):
        (docs / "other.md").write_text("# Other\n")
    with pytest.raises(Abort):
        written(tmp_path / "site", docs_dir=str(docs), nav=menu)


def test_a_sound_page_builds(tmp_path):
    """Without errors the build succeeds, so the failures above have the tested cause."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# One\n\n## Two\n\n[here](#two), [there](other.md#place), [outside](../own.py)\n")
    (docs / "other.md").write_text("# Other\n\n## Place\n")
    (tmp_path / "own.py").write_text("1\n")
    assert (
        written(tmp_path / "site", docs_dir=str(docs), nav=["index.md", "other.md"]) / "repository" / "own.py"
    ).is_file()
