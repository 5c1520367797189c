"""The page beside a quantized model, in a browser without a window: every module has its row, and nothing complains."""
import html
import json
import re
import shutil
import subprocess
import unittest

from harness import MODEL, STORIES, ToolTest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@unittest.skipUnless(BROWSER, "no chromium")
class Page(ToolTest):
    def test_drawn_in_a_browser(self):
        out = self.folder / "out"
        self.succeed("quantize", MODEL, out, "--samples", "4", "--seq-len", "64", "--calibration", STORIES,
                     "--dynamic", '{"-:.*layers.1.*k_proj": {}, ".*down_proj": {"bits": 8}, "<b>nothing": {}}')  # fmt: skip
        report = json.loads((out / "quantize_report.json").read_text())
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
             "--virtual-time-budget=5000", f"--user-data-dir={self.folder / 'profile'}", "--dump-dom",
             (out / "quantize_report.html").as_uri()],
            capture_output=True, encoding="utf-8", timeout=120,
        )  # fmt: skip
        self.assertEqual([line for line in done.stderr.splitlines() if "CONSOLE" in line], [])
        page = done.stdout
        body = page[page.index("<tbody>") : page.index("</tbody>")]
        names = [html.unescape(name) for name in re.findall(r'<tr><td class="text">(.*?)</td>', body)]
        self.assertEqual(names, [module["name"] for module in report["modules"]])
        self.assertEqual(len(names), 27)
        heat = page[page.index('id="heat"') : page.index('id="bits"')]
        self.assertEqual(heat.count("<title>"), 27)
        self.assertEqual(page.count("<circle"), 27)
        self.assertEqual(page.count("<svg"), 3)
        self.assertIn("&lt;b&gt;nothing' matches no module", page)
        self.assertNotIn("<b>nothing", page[: page.index('id="data"')])
        self.assertNotIn("NaN", page[: page.index('id="data"')])
