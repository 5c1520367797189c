"""Runs the gptq tool and reads what it gives; results are printed as "ok", "FAIL" and "skip" lines."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "samples" / "model")
STORIES = str(ROOT / "samples" / "stories.txt")
TOOL = ""  # set by run.py
SECONDS = 300


def run(*arguments, stdin=None, env=None):
    """The finished process, with text output."""
    return subprocess.run(
        [TOOL, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        env={**os.environ, **(env or {})},
    )


def start(*arguments):
    return subprocess.Popen(
        [TOOL, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


class ToolTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gptq-cli-"))
        self.addCleanup(shutil.rmtree, self.folder, True)

    def succeed(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, f"{arguments}: {done.stderr}")
        return done

    def json(self, *arguments, **options):
        """The object that a command prints with --json, which is all that it prints."""
        done = self.succeed(*arguments, "--json", **options)
        self.assertTrue(done.stdout.endswith("}\n"), done.stdout)
        self.assertEqual(done.stdout.count("\n"), 1, "more than one line on standard output")
        return json.loads(done.stdout)

    def fail_with(self, code, *arguments, says=(), **options):
        """The command fails in the documented way, and names what is wrong."""
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stderr}")
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.splitlines()[0].startswith("gptq: error: "), done.stderr)
        for part in says:
            self.assertIn(part, done.stderr)
        return done

    def copy_model(self, name="model"):
        target = self.folder / name
        shutil.copytree(MODEL, target)
        for path in target.iterdir():
            path.chmod(0o644)
        return target


def read_tensors(path):
    """Name to (shape, flat values) of a small safetensors file of 32-bit floats and integers."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        kind = {"F32": "f", "I32": "i", "I64": "q"}[entry["dtype"]]
        count = (end - begin) // struct.calcsize(kind)
        tensors[name] = entry["shape"], struct.unpack_from(f"<{count}{kind}", data, 8 + length + begin)
    return tensors


def read_logits(path):
    """Rows of floats; checks the safetensors file on the way."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    assert length % 8 == 0 and 8 + length <= len(data), length
    header = json.loads(data[8 : 8 + length])
    assert list(header) == ["logits"], header
    entry = header["logits"]
    rows, vocab = entry["shape"]
    assert entry["dtype"] == "F32" and entry["data_offsets"] == [0, rows * vocab * 4], entry
    assert len(data) == 8 + length + rows * vocab * 4, len(data)
    values = struct.unpack_from(f"<{rows * vocab}f", data, 8 + length)
    return [values[i * vocab : (i + 1) * vocab] for i in range(rows)]


class LineResult(unittest.TestResult):
    def show(self, word, test, text=""):
        print(f"{word:4} {test.id()}", flush=True)
        for line in text.splitlines():
            print("     " + line, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.show("ok", test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.show("FAIL", test, "".join(traceback.format_exception(*error)))

    def addError(self, test, error):
        super().addError(test, error)
        self.show("FAIL", test, "".join(traceback.format_exception(*error)))

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.show("FAIL", subtest, "".join(traceback.format_exception(*error)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.show("skip", test, reason)


def main(arguments):
    global TOOL
    TOOL = os.path.abspath(arguments[1])
    sys.dont_write_bytecode = True
    loader = unittest.TestLoader()
    if len(arguments) > 2:
        loader.testNamePatterns = [f"*{name}*" for name in arguments[2:]]
    suite = loader.discover(str(pathlib.Path(__file__).parent), pattern="*_test.py")
    result = LineResult()
    suite.run(result)
    if result.testsRun == 0:
        print("FAIL no test was found")
        return 1
    return 0 if result.wasSuccessful() else 1
