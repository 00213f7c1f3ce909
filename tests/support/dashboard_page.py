"""What tests do with the page of `metarm serve` in a browser."""

import json
import time

SCORE_KEY, ADMIN_KEY = "score-0123456789abcdef", "admin-0123456789abcdef"
PATIENCE_S = 30


def wait_for(browser, expression):
    deadline = time.monotonic() + PATIENCE_S
    while not browser.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < deadline, (expression, browser.evaluate("document.body.innerText")[:2000])
        time.sleep(0.05)


def load(browser, server, **more):
    browser.call("Page.navigate", url="about:blank")  # ends the page before, whose server may be gone
    browser.settle()
    browser.open(server.url.rstrip("/") + "/", **more)


def open_page(browser, server, key=None, **more):
    """Once it shows a state; with a key that this tab knows already."""
    load(browser, server, **more)
    if key:
        browser.evaluate(f"sessionStorage.setItem('metarm-key', {json.dumps(key)})")
        load(browser, server, **more)
    wait_for(browser, "!document.getElementById('state').hidden")
    browser.settle()


def text(browser, selector):
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")


def figure(name):
    return f"Number(document.querySelector('[data-figure={name}]')?.value)"


def click(browser, selector, words):
    """The element of that kind with these words."""
    browser.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].find((element) => element.textContent === {json.dumps(words)}).click()")


def choose(browser, selector, value):
    browser.evaluate(f"""(() => {{
      const input = document.querySelector({json.dumps(selector)});
      input.value = {json.dumps(value)};
      input.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }})()""")


def give_key(browser, key):
    wait_for(browser, "document.querySelector('dialog #key')")
    browser.evaluate(f"document.querySelector('dialog #key').value = {json.dumps(key)}")
    click(browser, "dialog button", "Use this key")
