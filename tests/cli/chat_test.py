"""template and chat."""
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


class Chat(ToolTest):
    def setUp(self):
        super().setUp()
        self.model = self.copy_model()
        (self.model / "chat_template.jinja").write_text(
            "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )

    def chat(self, lines, *more):
        done = self.json("chat", self.model, "--max-tokens", "8", *more, stdin="\n".join(lines) + "\n")
        return done["messages"]

    def test_answers_line_by_line_with_history(self):
        messages = self.chat(["Once upon a time", "and then"], "--system", "Tell.")
        self.assertEqual([m["role"] for m in messages], ["system", "user", "assistant", "user", "assistant"])
        for answer, question in ((2, 2), (4, 4)):
            chat = {"messages": messages[:question], "add_generation_prompt": True}
            prompt = self.json("template", self.model, "--messages", "-", stdin=json.dumps(chat))["text"]
            ids = self.json("tokenize", self.model, "--no-special", "--text", prompt)["ids"]
            alone = self.json("generate", self.model, "--tokens", ",".join(map(str, ids)), "--max-tokens", "8")
            self.assertEqual(messages[answer]["content"], alone["text"])

    def test_commands(self):
        self.assertEqual(self.chat(["One", "/undo", "/system S", "/exit", "never"]), [{"role": "system", "content": "S"}])
        messages = self.chat(["One \\", "two", f"/save {self.folder}/m.json", "/clear", f"/load {self.folder}/m.json"])
        self.assertEqual(messages[0], {"role": "user", "content": "One \ntwo"})
        self.assertEqual(len(messages), 2)
        shown = self.succeed("chat", self.model, "--max-tokens", "2", stdin="/help\n/history\nHi\n/history\n").stdout
        self.assertIn("/undo", shown)
        self.assertIn("user: Hi\nassistant: ", shown)
        done = harness.run("chat", self.model, stdin="/nope\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown command '/nope'", done.stderr)

    def test_messages_that_are_none(self):
        for text, says in (("[{]", "ill-formed JSON at byte 3"), ("3", "array of messages"), ('[{"role": 3}]', "array of messages")):
            (self.folder / "m.json").write_text(text)
            self.fail_with(1, "chat", self.model, "--messages", self.folder / "m.json", says=("m.json", says), stdin="")

    def test_stops_at_the_end_of_turn(self):
        free = self.chat(["Once upon a time"])[-1]["content"]
        word = self.json("tokenize", self.model, "--no-special", "--text", free)["ids"][3]
        config = json.loads((self.model / "generation_config.json").read_text())
        config["eos_token_id"] = [config["eos_token_id"], word]
        (self.model / "generation_config.json").write_text(json.dumps(config))
        self.assertLess(len(self.chat(["Once upon a time"])[-1]["content"]), len(free))

    def test_a_folder_without_template(self):
        self.fail_with(1, "chat", MODEL, says=("no chat template in",), stdin="Hi\n")
