"""Look at pages as a reader does: pictures of twelve pages, wide and as on a telephone.

    apt-get install -y chromium          # or any Chrome: --browser PATH
    python -m sphinx -W -b html doc doc/_build
    python doc/screenshots.py doc/_build --out /tmp/pictures

It exits with 1, and says where, if text is cut (a page that scrolls sideways, or a part
that hides what does not fit), if an image is missing, or if the browser reports errors.
The pictures are for you to look at. It needs no network, and nothing but Python and the
browser, which it talks to through two pipes (the DevTools protocol).
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PAGES = (
    "index",
    "getting_started",
    "coming_from",
    "api",
    "generated/skprecgd.PrecGDFactorization",
    "generated/skprecgd.PrecGDMatrixSensingCV",
    "how_to/fill_a_table",
    "how_to/when_a_fit_warns",
    "user_guide/maths",
    "user_guide/noisy_entries",
    "auto_examples/index",
    "auto_examples/plot_complete_a_matrix",
)
# Pixels: a laptop, and a telephone held upright.
WIDTHS = (1400, 400)
HEIGHT = 900
# Pixels of a picture; what is below is not drawn.
TALLEST = 12000

# The pipes of the protocol are these descriptors of the browser.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    "os.execvp(sys.argv[3], sys.argv[3:])"
)

# Pixels by which rounding may make contents wider than their box.
_LOOK = """
(async () => {
  const slack = 2;
  await document.fonts.ready;
  const images = [...document.images];
  for (const image of images) image.loading = "eager";
  await Promise.all(images.map(image => image.decode().catch(() => null)));
  const name = e => {
    const id = e.id ? "#" + e.id : "";
    const kind = [...e.classList].map(c => "." + c).join("");
    return e.tagName.toLowerCase() + id + kind + ": " +
      e.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
  };
  const page = document.documentElement;
  const shown = e => e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true});
  // Code, tables and formulas may scroll by themselves, the text of a page may not.
  const mayScroll = e => !e.querySelector("h1") &&
    ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  const scroller = e => {
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (mayScroll(p)) return p;
    return null;
  };
  const cut = [];
  for (const e of document.body.querySelectorAll("*")) {
    if (!shown(e) || !e.textContent.trim()) continue;
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    // What is for readers of the screen alone is one pixel large.
    if (box.width < 2 || box.height < 2) continue;
    const hides = ["hidden", "clip"].includes(style.overflowX);
    if (hides && e.scrollWidth > e.clientWidth + slack) cut.push(e);
    const within = scroller(e);
    if (within) {
      // What is left of where scrolling begins is never seen.
      const begin = within.getBoundingClientRect().left - within.scrollLeft;
      if (box.left < begin - slack) cut.push(e);
    } else if (style.position !== "fixed") {
      // Words that cannot break stick out of their box, unless it scrolls.
      const inside = mayScroll(e) ? 0 : e.scrollWidth;
      const right = Math.max(box.right, box.left + inside);
      if (right > page.clientWidth + slack || box.left < -slack) cut.push(e);
    }
  }
  // What holds them sticks out as well.
  const innermost = cut.filter(e => !cut.some(o => o !== e && e.contains(o)));
  return {
    wide: Math.max(0, page.scrollWidth - page.clientWidth - slack),
    cut: innermost.slice(0, 5).map(name),
    missing: images.filter(i => !i.naturalWidth).map(i => i.getAttribute("src")),
    height: Math.ceil(page.scrollHeight),
  };
})()
"""


class Browser:
    """A tab of a browser without a window.

    Parameters
    ----------
    send, receive : int
        Descriptors of the pipes.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._last, self._rest, self._session = 0, b"", ""
        self.errors: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        opened = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = opened["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, address: str, width: int) -> None:
        """Load a page at a width, until all that belongs to it is there."""
        self.errors = []
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", mobile=False, **size)
        self.call("Page.navigate", url=address)
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, script: str) -> Any:
        """What a promise of JavaScript becomes."""
        how = {"awaitPromise": True, "returnByValue": True}
        found = self.call("Runtime.evaluate", expression=script, **how)
        if "exceptionDetails" in found:
            raise RuntimeError(_exception(found["exceptionDetails"]))
        return found["result"]["value"]

    def picture(self, width: int, height: int) -> bytes:
        """The page from its top, as PNG."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        how = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        return base64.b64decode(self.call("Page.captureScreenshot", **how)["data"])

    def _read(self) -> Any:
        """The next message; errors are noted on the way."""
        while b"\0" not in self._rest:
            block = os.read(self._receive, 1 << 20)
            if not block:
                raise RuntimeError("The browser has ended.")
            self._rest += block
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(_exception(params["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] == "error":
            said = (str(part.get("value", "")) for part in params["args"])
            self.errors.append(" ".join(said))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            entry = params["entry"]
            self.errors.append(f"{entry['text']} {entry.get('url', '')}")


def _exception(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start a browser, and end it."""
    theirs, send = os.pipe()
    receive, answers = os.pipe()
    # Out of the way of the two descriptors that the browser asks for.
    inside = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs, answers)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        options += ["--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe"]
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", _LAUNCH, *map(str, inside), program),
                *(*options, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=inside,
            stderr=subprocess.DEVNULL,
        )
        for fd in (theirs, answers, *inside):
            os.close(fd)
        try:
            tab = Browser(send, receive)
            yield tab
            with suppress(RuntimeError):
                tab.call("Browser.close")
        finally:
            os.close(send)
            os.close(receive)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def faults(seen: dict[str, Any], errors: list[str]) -> list[str]:
    """What is wrong with a page, a sentence each.

    Parameters
    ----------
    seen : dict
        What the script in the page has found.
    errors : list of str
        What the browser has reported.
    """
    found = [f"cut: {part}" for part in seen["cut"]]
    if seen["wide"]:
        found.append(f"the page scrolls sideways by {seen['wide']} pixels")
    found += [f"missing image: {address}" for address in seen["missing"]]
    return found + [f"error: {error}" for error in errors]


def main() -> int:
    """Look at all pages; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("built", type=Path, help="folder of the HTML")
    parser.add_argument("--out", type=Path, help="folder for the pictures")
    parser.add_argument("--browser", default=None, help="Chromium or Chrome")
    parser.add_argument("--pages", nargs="+", default=PAGES, help="without .html")
    args = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome")
    program = args.browser or next(filter(shutil.which, names), None)
    if program is None:
        parser.error("no browser found; apt-get install -y chromium, or --browser PATH")
    out = args.out or args.built / "screenshots"
    out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with browser(program) as tab:
        for page in args.pages:
            path = (args.built / f"{page}.html").resolve(strict=True)
            for width in WIDTHS:
                tab.open(path.as_uri(), width)
                seen = tab.evaluate(_LOOK)
                found = faults(seen, tab.errors)
                wrong += len(found)
                name = f"{page.replace('/', '-')}-{width}.png"
                height = min(seen["height"], TALLEST)
                (out / name).write_bytes(tab.picture(width, height))
                print(f"{'FAULT' if found else 'fine':<6} {width:>5} {page}")
                for fault in found:
                    print(f"       {fault}")
    print(f"{wrong} faults; {len(args.pages) * len(WIDTHS)} pictures in {out}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
