#!/usr/bin/env python3
"""The page of `chunkllm serve` in headless Chromium.

Usage: page_test.py PROGRAM MODEL ADAPTER [--pictures FOLDER]. Exit code 77, which is a skip, where
playwright or Debian's chromium is not there. With --pictures it keeps a picture of each look.
"""

import re
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from chunkllm_server import Server

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    print("the package playwright is not installed")
    sys.exit(77)
CHROMIUM = shutil.which("chromium")
if not CHROMIUM:
    print("chromium is not installed")
    sys.exit(77)

PROGRAM, MODEL, ADAPTER = sys.argv[1:4]
PICTURES = Path(sys.argv[5]) if sys.argv[4:5] == ["--pictures"] else None
FACT = "The secret code of Alice is 48213."
QUESTION = "What is the secret code of Alice?"
SHORT = f"{FACT} {QUESTION}"  # the model ends its answers to what it knows
LOOKS = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"},
         "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}}}


def document(n_lines):
    lines = [f"It rained on the {i}th day, and the boats stayed in the harbour of the town." for i in range(n_lines)]
    lines.insert(n_lines // 3, FACT)
    return "\n".join(lines)


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.text = Path(cls.folder.name) / "report.txt"
        cls.text.write_text(document(1300))  # some 30,000 tokens
        cls.server = Server(PROGRAM, MODEL, ADAPTER, "--ctx", "65536", "--kv-budget", "0.1")
        cls.url = cls.server.url
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()
        assert cls.server.close() == 130
        cls.folder.cleanup()

    def open(self, refusals=0, **look):
        """A page; what it complains of but for so many refused requests, or asks of other places, fails the test."""
        context = self.browser.new_context(**look)
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(120000)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith(self.url) else complaints.append(request.url))
        self.addCleanup(lambda: self.assertEqual([c for c in complaints if "400 (Bad Request)" not in c], []))
        self.addCleanup(lambda: self.assertLessEqual(len(complaints), refusals))
        page.goto(self.url + "/")
        expect(page.locator("#model")).to_contain_text("65,536 tokens")
        return page

    def ask(self, page, question, file=None):
        if file:
            page.set_input_files("#file", file)
            expect(page.locator("#file-name")).to_contain_text("report.txt")
        page.fill("#text", question)
        page.keyboard.press("Enter")
        expect(page.locator("#send")).to_be_enabled(timeout=120000)
        return page.locator("article.assistant").last

    def test_a_long_document_is_asked_twice(self):
        page = self.open()
        answer = self.ask(page, QUESTION, self.text)
        expect(answer).to_contain_text("48213")
        expect(answer).to_contain_text("of the KV cache attended")
        n_read = int(re.search(r"([\d,]+) tokens read", answer.inner_text()).group(1).replace(",", ""))
        self.assertGreater(n_read, 25000)
        self.assertGreater(page.locator("#strip rect").count(), 10)
        self.assertIn(FACT, page.locator("#chosen").inner_text())
        page.click("#document summary")
        self.assertIn(FACT, page.locator("#chunks").inner_text())
        marked = page.locator("#chunks span[style*=background]").all_inner_texts()
        self.assertTrue(any(FACT in text for text in marked))
        self.assertLess(len(marked), page.locator("#chunks span").count() / 2)
        second = self.ask(page, QUESTION)
        self.assertIn("known", second.inner_text())
        expect(page.locator("article.user")).to_have_count(2)

    def test_all_looks(self):
        for name, look in LOOKS.items():
            page = self.open(**look)
            self.ask(page, QUESTION, self.text)
            wide, seen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            self.assertLessEqual(wide, seen, name)
            if PICTURES:
                PICTURES.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=PICTURES / f"page-{name}.png")

    def test_what_is_written_stays_text(self):
        page = self.open()
        self.ask(page, "<img src=x onerror=document.title='broken'> <b>bold</b> " + SHORT)
        expect(page.locator("article.user")).to_contain_text("<b>bold</b>")
        self.assertEqual(page.locator("article img, article b").count(), 0)
        self.assertEqual(page.title(), "chunkllm")

    def test_the_keyboard_reaches_everything(self):
        page = self.open()
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id"))
        self.assertLessEqual({"policy", "budget", "key", "clear", "text", "attach", "send"}, reached)

    def test_an_error_is_shown_and_the_chat_goes_on(self):
        page = self.open(refusals=1)
        page.fill("#budget", "-3")
        page.fill("#text", SHORT)
        page.keyboard.press("Enter")
        expect(page.locator("article.error")).to_contain_text("kv_budget")
        page.fill("#budget", "0.5")
        self.ask(page, SHORT)
        expect(page.locator("article.assistant")).to_have_count(1)

    def test_stop_ends_an_answer(self):
        page = self.open()
        page.set_input_files("#file", self.text)
        page.fill("#text", "And what else? " + QUESTION)
        page.select_option("#policy", "full")
        page.click("#send")
        expect(page.locator("#stop")).to_be_enabled()
        page.click("#stop")
        expect(page.locator("#send")).to_be_enabled()
        page.select_option("#policy", "")
        self.ask(page, SHORT)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
