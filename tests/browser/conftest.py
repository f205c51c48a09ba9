"""A page, opened once by each file of tests; the file's own fixture `path` says which."""

import pytest

from testing.browser_page import opening, switches, turn_back


@pytest.fixture(scope="module")
def desk(browser, path):
    """The page on a desktop screen, opened once, and the initial positions of its switches."""
    with opening(browser) as opened:
        page = opened(path, color_scheme="light")
        yield page, switches(page)


@pytest.fixture
def page(desk):
    """The page with its switches in their initial positions."""
    page, first = desk
    turn_back(page, first)
    return page
