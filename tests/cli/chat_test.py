"""template: chat templates of folders."""
import json
import os
import pathlib

import harness
from harness import MODEL, ToolTest

HI = [{"role": "user", "content": "Hi"}]
CHATML = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def published():
    """The folder of published templates, if it is here."""
    data = os.environ.get("GPTQ_TEST_DATA")
    folder = pathlib.Path(data) if data else harness.ROOT.parent / "shared" / "data"
    return folder / "chat-templates"


class Template(ToolTest):
    def write(self, name, contents):
        path = self.folder / name
        path.write_text(contents if isinstance(contents, str) else json.dumps(contents), encoding="utf-8", newline="")
        return path

    def test_prints_the_text_and_nothing_else(self):
        self.write("chat_template.jinja", CHATML)
        self.write("tokenizer_config.json", {"bos_token": "<s>"})
        messages = self.write("messages.json", HI)
        text = "<s><|im_start|>user\nHi<|im_end|>\n"
        self.assertEqual(self.succeed("template", self.folder, "--messages", messages).stdout, text)
        self.assertEqual(self.succeed("template", self.folder, "--messages", "-", stdin=json.dumps(HI)).stdout, text)
        self.assertEqual(self.json("template", self.folder, "--messages", messages), {"text": text})

    def test_variables(self):
        self.write("chat_template.jinja", CHATML + "{{ x }}{{ tools|tojson }}")
        self.write("tokenizer_config.json", {"bos_token": "<s>"})
        tools = [{"type": "function", "function": {"name": "f"}}]
        chat = {"messages": HI, "add_generation_prompt": True, "bos_token": "B", "x": 1.5, "tools": tools}
        done = self.succeed("template", self.folder, "--messages", self.write("chat.json", chat))
        self.assertEqual(
            done.stdout,
            "B<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n1.5" + json.dumps(tools),
        )

    def test_errors(self):
        messages = self.write("messages.json", HI)
        self.fail_with(1, "template", MODEL, "--messages", messages, says=("no chat template in",))
        self.write("chat_template.jinja", "\n{{ raise_exception('no ' ~ messages[0].role) }}")
        self.fail_with(1, "template", self.folder, "--messages", messages, says=("chat_template.jinja: line 2", "no user"))
        self.write("chat_template.jinja", "{% if %}")
        self.fail_with(1, "template", self.folder, "--messages", messages, says=("line 1", "wanted an expression"))
        self.fail_with(1, "template", self.folder, "--messages", self.write("bad.json", "[{]"), says=("byte",))
        self.fail_with(1, "template", self.folder, "--messages", self.folder / "none", says=("none",))
        self.fail_with(2, "template", self.folder, says=("--messages",))

    def test_published_templates(self):
        if not published().is_dir():
            self.skipTest("needs chat-templates of the test data")
        for source in sorted(published().glob("*.jinja"))[::6]:
            self.write("chat_template.jinja", source.read_bytes().decode())
            for case in json.loads(source.with_suffix(".expected.json").read_text(encoding="utf-8"))[::3]:
                with self.subTest(f"{source.stem}: {case['case']}"):
                    done = harness.run("template", self.folder, "--messages", "-", stdin=json.dumps(case["input"]))
                    if "error" in case:
                        self.assertEqual(done.returncode, 1)
                        self.assertIn(case["error"], done.stderr)
                    elif "2026" not in case["rendered"]:  # the date is another one
                        self.assertEqual(done.stdout, case["rendered"], done.stderr)
