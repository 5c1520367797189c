"""The page beside a quantized model, in a browser without a window: every module has its row, and nothing complains."""
import html
import json
import re
import shutil
import subprocess
import unittest

import harness
from harness import MODEL, STORIES, ToolTest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


ODD = (1e300, -1e300, 5e-324, 0, -1, 2**63, None, "text", [], {}, True)


def names_in(page):
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [html.unescape(name) for name in re.findall(r'<tr><td class="text">(.*?)</td>', body)]


@unittest.skipUnless(BROWSER, "no chromium")
class Page(ToolTest):
    def drawn(self, page):
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
             "--virtual-time-budget=5000", f"--user-data-dir={self.folder / 'profile'}", "--dump-dom", page.as_uri()],
            capture_output=True, encoding="utf-8", timeout=120,
        )  # fmt: skip
        self.assertEqual([line for line in done.stderr.splitlines() if "CONSOLE" in line], [])
        return done.stdout

    def test_odd_numbers(self):
        template = (harness.ROOT / "src/quant/report.html").read_text()
        usual = {"name": "", "bits": 4, "group_size": 128, "weights": 1, "bits_per_weight": 4.2, "loss": 1, "note": "",
                 "relative_error": 0.1, "damp": 0.05, "method": "gptq", "seconds": 1, "memory": 1,
                 "scales": [1, 2, 3, 4, 5]}  # fmt: skip
        keys = ("bits_per_weight", "relative_error", "seconds", "memory", "weights", "loss", "damp", "scales")
        modules = [usual | {key: value, "name": f"layers.{i}.{key}"} for key in keys for i, value in enumerate(ODD)]
        modules += [usual | {"name": f"layers.{10**18}.scales", "scales": [5e-324, 1, 1, 1, 1e300]}]
        report = {"model": "m", "options": {"bits": 4, "group_size": 128}, "calibration": {}, "modules": modules,
                  "warnings": [], "seconds": -1e300}  # fmt: skip
        for some in (modules, modules[:1], []):
            text = json.dumps(report | {"modules": some})
            (self.folder / "page.html").write_text(template.replace("__REPORT__", text))
            page = self.drawn(self.folder / "page.html")
            self.assertEqual(names_in(page), [module["name"] for module in some])
            for word in ("NaN", "Infinity", "undefined%"):
                self.assertNotIn(word, page[page.index("<svg") if "<svg" in page else 0 : page.index('id="data"')])

    def test_drawn_in_a_browser(self):
        out = self.folder / "out"
        self.succeed("quantize", MODEL, out, "--samples", "4", "--seq-len", "64", "--calibration", STORIES,
                     "--dynamic", '{"-:.*layers.1.*k_proj": {}, ".*down_proj": {"bits": 8}, "<b>nothing": {}}')  # fmt: skip
        report = json.loads((out / "quantize_report.json").read_text())
        page = self.drawn(out / "quantize_report.html")
        names = names_in(page)
        self.assertEqual(names, [module["name"] for module in report["modules"]])
        self.assertEqual(len(names), 27)
        heat = page[page.index('id="heat"') : page.index('id="bits"')]
        self.assertEqual(heat.count("<title>"), 27)
        self.assertEqual(page.count("<circle"), 27)
        self.assertEqual(page.count("<svg"), 3)
        self.assertIn("&lt;b&gt;nothing' matches no module", page)
        self.assertNotIn("<b>nothing", page[: page.index('id="data"')])
        self.assertNotIn("NaN", page[: page.index('id="data"')])
