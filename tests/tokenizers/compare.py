#!/usr/bin/env python3
"""Compares the speed and the ids of tokenizing with Hugging Face's `tokenizers`, each on one core.

usage: GPTQ_TOKENIZERS=python compare.py path/to/libgptq.so TEXT FOLDER...

GPTQ_TOKENIZERS is a Python that has tokenizers (0.23.3). TEXT is encoded as a whole, three times by each in turn, from
each FOLDER's tokenizer.json; the best CPU time counts. Prints a row each: MB/s of both, the ratio, whether ids are equal.
"""
import ctypes
import os
import pathlib
import sys
import time

ROUNDS = 3


class Library:
    def __init__(self, path, folder):
        self.lib = ctypes.CDLL(path)
        self.lib.gptq_buffer_data.restype = ctypes.c_void_p
        self.lib.gptq_buffer_size.restype = ctypes.c_int64
        self.lib.gptq_last_error_message.restype = ctypes.c_char_p
        options, self.model = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.lib.gptq_options_create(ctypes.byref(options)))
        self.check(self.lib.gptq_options_set_int(options, b"load_weights", ctypes.c_int64(0)))
        self.check(self.lib.gptq_model_load(str(folder).encode(), options, ctypes.byref(self.model)))
        self.lib.gptq_options_free(options)

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.lib.gptq_last_error_message().decode())

    def encode(self, text):
        """Seconds, and the ids as bytes."""
        out = ctypes.c_void_p()
        begin = time.process_time()
        self.check(self.lib.gptq_model_tokenize(self.model, text, ctypes.c_int64(len(text)), 2, ctypes.byref(out)))
        seconds = time.process_time() - begin
        ids = ctypes.string_at(self.lib.gptq_buffer_data(out), self.lib.gptq_buffer_size(out))
        self.lib.gptq_buffer_free(out)
        return seconds, ids


def main():
    peer = os.environ.get("GPTQ_TOKENIZERS")
    if not peer:
        print("skip tokenizers: GPTQ_TOKENIZERS does not name a Python that has it")
        return 0
    if "TOKENIZERS_PARALLELISM" not in os.environ:
        os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
        os.execvp(peer, [peer, *sys.argv])
    import array
    import tokenizers
    library, text, folders = sys.argv[1], pathlib.Path(sys.argv[2]).read_bytes(), sys.argv[3:]
    failed = 0
    for folder in map(pathlib.Path, folders):
        ours, theirs = Library(library, folder), tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        times, decoded = ([], []), text.decode()
        for _ in range(ROUNDS):
            seconds, found = ours.encode(text)
            times[0].append(seconds)
            begin = time.process_time()
            wanted = theirs.encode(decoded, add_special_tokens=False)
            times[1].append(time.process_time() - begin)
        equal = found == array.array("i", wanted.ids).tobytes()
        failed += not equal
        here, there = (len(text) / 1e6 / min(each) for each in times)
        print(f"{'ok  ' if equal else 'FAIL'} {folder.name:12} {here:6.1f} MB/s, tokenizers {there:6.2f}: {here / there:.1f} times", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
