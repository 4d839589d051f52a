# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser without network: wide and narrow, light and dark.

Needs Debian's `chromium` and the extra `browser` (playwright drives it).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rendering.splits import report, whole_split

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    root: Path = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as monkeypatch:
        whole_split(root, monkeypatch)
        report(root)
    return (root / "report/index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright (extra browser) is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium)
        yield launched
        launched.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_clean(browser: Any, page_uri: str, width: int, scheme: str) -> None:
    """No message, no request, every picture decoded, nothing wider than the screen, text that can be read."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("data:") else heard.append(request.url))
    page.goto(page_uri)
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert heard == [page_uri]  # the page itself and nothing more
    assert page.evaluate("[...document.images].filter(image => image.naturalWidth === 0).length") == 0
    assert page.evaluate("document.images.length") == 17
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(_CUT_OFF) == []
    assert page.evaluate(_CONTRAST) >= 4.5  # WCAG AA, of the softest text on the page's background
    context.close()


# Tables that their box cuts off, and texts of charts that reach out of them.
_CUT_OFF = """() => {
  const tables = [...document.querySelectorAll('.headline .scroll')].filter(box => box.scrollWidth > box.clientWidth);
  const texts = [...document.querySelectorAll('figure.chart > svg text')].filter(text => {
    const [a, b] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
    return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;
  });
  return [...tables, ...texts].map(node => node.textContent.slice(0, 60));
}"""

_CONTRAST = """() => {
  const luminance = colour => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
    const [r, g, b] = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = luminance(getComputedStyle(document.body).backgroundColor);
  const texts = [...document.querySelectorAll('p, a, td, th, h2, figcaption, dt')];
  return Math.min(...texts.map(node => {
    const text = luminance(getComputedStyle(node).color);
    return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
  }));
}"""
