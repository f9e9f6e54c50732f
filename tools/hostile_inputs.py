#!/usr/bin/env python3
"""Tries files and options that lie on the built program and prints how many were refused as they should be.

    tools/hostile_inputs.py build/release/chunkllm [--show]

With --show, the message for each is printed too.

Every case is made from a small model of the repository by one change. A case passes if the program ends by
itself within a minute, with exit code 1 or 2, nothing on standard output, and one line on standard error that
begins with "error: ". Exit code 1 if a case does not.
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = ROOT / "tests/golden/models/tiny-llama"  # no tokenizer: for configs and tensors
NEEDLE = ROOT / "models/needle-6m"
ADAPTER = ROOT / "models/needle-6m-adapter"
CASES = []  # (group, name, function(work) -> arguments)


def case(group, name):
    def register(make):
        CASES.append((group, name, make))
        return make
    return register


# ---- safetensors


def read_safetensors(path):
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


def join_safetensors(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def copy_tiny(work):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(TINY / name, work / name)
    return work


INSPECT_BENCH = ["-p", "1", "-n", "0", "-r", "1"]


def bench(folder):
    return ["bench", "--model", str(folder), *INSPECT_BENCH]


def raw_tensors(name, make_bytes):
    @case("safetensors", name)
    def make(work):
        copy_tiny(work)
        header, body = read_safetensors(work / "model.safetensors")
        (work / "model.safetensors").write_bytes(make_bytes(header, body))
        return bench(work)


def edited_tensors(name, edit):
    def make_bytes(header, body):
        edit(header)
        return join_safetensors(header, body)
    raw_tensors(name, make_bytes)


Q = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"
raw_tensors("an empty file", lambda h, b: b"")
raw_tensors("seven bytes", lambda h, b: b"\0" * 7)
raw_tensors("a length alone", lambda h, b: struct.pack("<Q", 100))
raw_tensors("a header length of 0", lambda h, b: struct.pack("<Q", 0) + b)
raw_tensors("a header length beyond the file", lambda h, b: struct.pack("<Q", 1 << 40) + b"{}")
raw_tensors("a header length of 2^64 - 1", lambda h, b: struct.pack("<Q", (1 << 64) - 1) + b"{}")
raw_tensors("a header of 2^63", lambda h, b: struct.pack("<Q", 1 << 63) + b"{}")
raw_tensors("no JSON", lambda h, b: join_safetensors(b"{hello", b))
raw_tensors("an array for a header", lambda h, b: join_safetensors(b"[1]", b))
raw_tensors("a hundred thousand brackets", lambda h, b: join_safetensors(b"{\"a\":" + b"[" * 100000, b))
raw_tensors("invalid UTF-8 in a name", lambda h, b: join_safetensors(b'{"\xff":1}', b))
raw_tensors("a name given twice", lambda h, b: join_safetensors(
    b'{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}', b""))
raw_tensors("a NUL inside the header", lambda h, b: join_safetensors(b'{"a\0":{}}', b))
raw_tensors("data cut short by one byte", lambda h, b: join_safetensors(h, b[:-1]))
raw_tensors("data cut to nothing", lambda h, b: join_safetensors(h, b""))
raw_tensors("a byte behind the data", lambda h, b: join_safetensors(h, b + b"x"))
raw_tensors("an empty header", lambda h, b: join_safetensors(b"{}", b""))
for value in ("F31", "", None, 3, ["F32"]):
    edited_tensors(f"dtype {json.dumps(value)}", lambda h, v=value: h[Q].update(dtype=v))
edited_tensors("a norm of integers", lambda h: h[NORM].update(dtype="I16"))
edited_tensors("a matrix of integers", lambda h: h[Q].update(dtype="U16"))
for value in ([], [-1, 64], [1 << 62, 1 << 62], [64], "64", [64.5, 64], [None], [1] * 40, {}, [64, "64"], [0, 64]):
    edited_tensors(f"shape {json.dumps(value)[:30]}", lambda h, v=value: h[Q].update(shape=v))
edited_tensors("shape transposed where it matters", lambda h: h[Q]["shape"].reverse())
for value in ([0, 1], [5, 3], [-1, 10], [0, 1 << 63], [0], [0, 1, 2], "0", None, [0.5, 2]):
    edited_tensors(f"data_offsets {json.dumps(value)[:30]}", lambda h, v=value: h[Q].update(data_offsets=v))


def overlap(header):
    header[Q]["data_offsets"] = list(header[Q.replace("q_proj", "o_proj")]["data_offsets"])


edited_tensors("two tensors on the same bytes", overlap)
edited_tensors("a tensor without its fields", lambda h: h.update({Q: {}}))
edited_tensors("a tensor that is a number", lambda h: h.update({Q: 7}))
edited_tensors("a missing matrix", lambda h: h.update(other=h.pop(Q)))
edited_tensors("a missing norm", lambda h: h.update(other=h.pop(NORM)))
edited_tensors("a missing head", lambda h: h.update(other=h.pop("lm_head.weight")))
edited_tensors("a bias nobody announced", lambda h: h.update({"model.layers.0.self_attn.q_proj.bias": h.pop("lm_head.weight")}))
edited_tensors("metadata that is a number", lambda h: h.update(__metadata__=5))
edited_tensors("metadata of numbers", lambda h: h.update(__metadata__={"a": 5}))


@case("safetensors", "a norm that is NaN")
def nan_norm(work):
    copy_tiny(work)
    header, body = read_safetensors(work / "model.safetensors")
    body = bytearray(body)
    at = header[NORM]["data_offsets"][0]
    body[at:at + 2] = b"\xc0\x7f"
    (work / "model.safetensors").write_bytes(join_safetensors(header, bytes(body)))
    return bench(work)


@case("safetensors", "no file at all")
def no_tensors(work):
    shutil.copy(TINY / "config.json", work)
    return bench(work)


@case("safetensors", "a folder for a file")
def folder_for_file(work):
    shutil.copy(TINY / "config.json", work)
    (work / "model.safetensors").mkdir()
    return bench(work)


@case("safetensors", "a named pipe for a file")
def pipe_for_file(work):
    shutil.copy(TINY / "config.json", work)
    os.mkfifo(work / "model.safetensors")
    return bench(work)


# ---- the index of a sharded checkpoint


def index(name, text):
    @case("index", name)
    def make(work):
        shutil.copy(TINY / "config.json", work)
        shutil.copy(TINY / "model.safetensors", work / "a.safetensors")
        (work / "model.safetensors.index.json").write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
        return bench(work)


names = list(read_safetensors(TINY / "model.safetensors")[0])
whole = {name: "a.safetensors" for name in names if name != "__metadata__"}
index("no JSON", b"{")
index("empty", b"")
index("an array", [])
index("no weight_map", {})
index("weight_map empty", {"weight_map": {}})
index("weight_map an array", {"weight_map": ["a"]})
index("a shard that is missing", {"weight_map": {**whole, Q: "b.safetensors"}})
index("a shard in the folder above", {"weight_map": {**whole, Q: "../a.safetensors"}})
index("a shard at an absolute path", {"weight_map": {**whole, Q: "/etc/passwd"}})
index("a shard with a backslash", {"weight_map": {**whole, Q: "..\\a.safetensors"}})
index("a shard that is the folder", {"weight_map": {**whole, Q: "."}})
index("a shard that is a number", {"weight_map": {**whole, Q: 1}})
index("a shard with a NUL in its name", {"weight_map": {**whole, Q: "a.safetensors\0.txt"}})
index("a tensor that its shard lacks", {"weight_map": {**whole, "phantom": "a.safetensors"}})
index("a tensor left out", {"weight_map": {name: file for name, file in whole.items() if name != Q}})
index("ten thousand shards", {"weight_map": {f"t{i}": f"{i}.safetensors" for i in range(10000)}})

# ---- config.json


def config(name, change=None, raw=None):
    @case("config.json", name)
    def make(work):
        copy_tiny(work)
        fields = json.loads((work / "config.json").read_text())
        if change is not None:
            change(fields)
            raw_text = json.dumps(fields).encode()
        else:
            raw_text = raw
        (work / "config.json").write_bytes(raw_text)
        return bench(work)


config("empty", raw=b"")
config("no JSON", raw=b"model")
config("an array", raw=b"[]")
config("invalid UTF-8", raw=b'{"model_type":"\xff"}')
config("a key given twice", raw=b'{"model_type":"llama","model_type":"llama"}')
config("fifty thousand levels", raw=b'{"a":' * 50000)
config("two objects", raw=b"{}{}")
for field in ("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size"):
    config(f"{field} missing", lambda c, f=field: c.pop(f))
for field in ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
              "vocab_size", "head_dim", "max_position_embeddings"):
    for value in (0, -1, 1e18, "8", 2.5):
        config(f"{field} {json.dumps(value)}", lambda c, f=field, v=value: c.update({f: v}))
for field, value in (("rms_norm_eps", -1), ("rms_norm_eps", "x"), ("tie_word_embeddings", "yes"), ("eos_token_id", "x"),
                     ("eos_token_id", [-5]), ("eos_token_id", 1e30), ("model_type", "gpt2"), ("model_type", 5),
                     ("model_type", "llama\n"), ("hidden_act", "gelu"), ("num_key_value_heads", 3), ("head_dim", 20),
                     ("head_dim", 512), ("quantization_config", {"bits": 4}), ("sliding_window", 16),
                     ("layer_types", ["sliding_attention"]), ("layer_types", 5), ("pretraining_tp", 2),
                     ("rope_parameters", 5), ("rope_parameters", {"rope_type": "ntk"}),
                     ("rope_parameters", {"rope_type": "linear"}), ("rope_parameters", {"rope_type": "yarn", "factor": -1}),
                     ("rope_parameters", {"rope_theta": 0}), ("rope_parameters", {"partial_rotary_factor": 0.5}),
                     ("rope_scaling", {"type": "linear", "factor": 2}), ("num_hidden_layers", 4), ("vocab_size", 161)):
    config(f"{field} {json.dumps(value)}", lambda c, f=field, v=value: c.update({f: v}))


@case("config.json", "generation_config.json is no JSON")
def generation_config(work):
    copy_tiny(work)
    (work / "generation_config.json").write_text("{")
    return bench(work)


@case("config.json", "generation_config.json with a word for an id")
def generation_config_word(work):
    copy_tiny(work)
    (work / "generation_config.json").write_text('{"eos_token_id": "end"}')
    return bench(work)


# ---- tokenizer.json and tokenizer_config.json


def needle_folder(work):
    for file in NEEDLE.iterdir():
        if file.is_file():
            (work / file.name).symlink_to(file)
    return work


def replace(work, name, data):
    (work / name).unlink(missing_ok=True)
    (work / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def ask(model, *more):
    return ["generate", "--model", str(model), "--prompt", "Hello.", "--max-tokens", "1", *more]


def tokenizer(name, change=None, raw=None):
    @case("tokenizer.json", name)
    def make(work):
        needle_folder(work)
        if raw is None:
            fields = json.loads((NEEDLE / "tokenizer.json").read_text())
            change(fields)
            replace(work, "tokenizer.json", fields)
        else:
            replace(work, "tokenizer.json", raw)
        return ask(work)


tokenizer("empty", raw=b"")
tokenizer("no JSON", raw=b"{]")
tokenizer("an array", raw=b"[]")
tokenizer("fifty thousand levels", raw=b'{"model":' * 50000)
tokenizer("no model", lambda t: t.pop("model"))
tokenizer("a model of another kind", lambda t: t["model"].update(type="Unigram"))
tokenizer("a model without a vocabulary", lambda t: t["model"].pop("vocab"))
tokenizer("an empty vocabulary", lambda t: t["model"].update(vocab={}))
tokenizer("a vocabulary that is a list", lambda t: t["model"].update(vocab=[["a", 0]]))
tokenizer("a negative id", lambda t: t["model"]["vocab"].update({"zz": -1}))
tokenizer("an id of 2^40", lambda t: t["model"]["vocab"].update({"zz": 1 << 40}))
tokenizer("an id of 2^31 - 1", lambda t: t["model"]["vocab"].update({"zz": (1 << 31) - 1}))
tokenizer("an id that is a word", lambda t: t["model"]["vocab"].update({"zz": "one"}))
tokenizer("an id given twice", lambda t: t["model"]["vocab"].update({"zzz": 5}))
tokenizer("merges that are a word", lambda t: t["model"].update(merges="a b"))
tokenizer("a merge of one part", lambda t: t["model"]["merges"].insert(0, ["a"]))
tokenizer("a merge of three parts", lambda t: t["model"]["merges"].insert(0, ["a", "b", "c"]))
tokenizer("a merge of unknown parts", lambda t: t["model"]["merges"].insert(0, ["\u4e2d", "\u6587"]))
tokenizer("a merge that is a number", lambda t: t["model"]["merges"].insert(0, 7))
tokenizer("added tokens that are a number", lambda t: t.update(added_tokens=3))
tokenizer("an added token without an id", lambda t: t["added_tokens"][0].pop("id"))
tokenizer("an added token with a negative id", lambda t: t["added_tokens"][0].update(id=-2))
tokenizer("an added token without content", lambda t: t["added_tokens"][0].update(content=""))
tokenizer("an unknown pre-tokenizer", lambda t: t.update(pre_tokenizer={"type": "Magic"}))
tokenizer("a pre-tokenizer with an unknown pattern", lambda t: t.update(
    pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}))
tokenizer("an unknown normalizer", lambda t: t.update(normalizer={"type": "Lowercase"}))
tokenizer("an unknown post-processor", lambda t: t.update(post_processor={"type": "BertProcessing"}))
tokenizer("an unknown decoder", lambda t: t.update(decoder={"type": "CTC"}))
tokenizer("a template of unknown tokens", lambda t: t.update(post_processor={
    "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<nope>", "type_id": 0}}], "pair": [],
    "special_tokens": {}}))


@case("tokenizer.json", "missing")
def no_tokenizer(work):
    needle_folder(work)
    (work / "tokenizer.json").unlink()
    return ask(work)


def chat(name, data):
    @case("tokenizer_config.json", name)
    def make(work):
        needle_folder(work)
        replace(work, "tokenizer_config.json", data)
        return ask(work, "--chat")


chat("no JSON", b"{")
chat("an array", [])
chat("no chat template", {})
chat("a chat template that cannot be read", {"chat_template": "{% for m in messages %}"})
chat("a chat template that refuses", {"chat_template": "{{ raise_exception('no system role') }}"})
chat("a chat template that never ends", {"chat_template": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"})
chat("a chat template that grows", {"chat_template": "{{ ('a' * 1000000) | replace('a', 'a' * 1000000) }}"})
chat("a chat template that is a number", {"chat_template": 5})
chat("an empty chat template", {"chat_template": ""})

# ---- adapters


def adapter_config(name, change=None, raw=None):
    @case("adapter_config.json", name)
    def make(work):
        shutil.copy(ADAPTER / "adapter_model.safetensors", work)
        fields = json.loads((ADAPTER / "adapter_config.json").read_text())
        if change is not None:
            change(fields)
        (work / "adapter_config.json").write_bytes(raw if raw is not None else json.dumps(fields).encode())
        return ask(NEEDLE, "--adapter", str(work))


adapter_config("empty", raw=b"")
adapter_config("an array", raw=b"[]")
for field, value in (("format", "other"), ("version", 99), ("version", "1"), ("fingerprint", "00"), ("fingerprint", 5),
                     ("num_hidden_layers", 5), ("num_hidden_layers", 0), ("num_hidden_layers", 1e12), ("hidden_size", 255),
                     ("adapter_dim", 0), ("adapter_dim", -64), ("adapter_dim", 1e15), ("adapter_dim", 63),
                     ("selection_heads", 2), ("chunk_key", "median"), ("chunks", "words"), ("chunks", "fixed"),
                     ("alpha", 2), ("alpha", "x"), ("max_chunk", 0), ("max_chunk", -5), ("sink", -1), ("window", -1),
                     ("first_layer", {"kind": "sparse"}), ("first_layer", {"kind": "grid", "grid": 0}), ("first_layer", 7)):
    adapter_config(f"{field} {json.dumps(value)}", lambda c, f=field, v=value: c.update({f: v}))


def adapter_tensors(name, change):
    @case("adapter_model.safetensors", name)
    def make(work):
        shutil.copy(ADAPTER / "adapter_config.json", work)
        header, body = read_safetensors(ADAPTER / "adapter_model.safetensors")
        (work / "adapter_model.safetensors").write_bytes(change(header, bytearray(body)))
        return ask(NEEDLE, "--adapter", str(work))


def with_nan(header, body, name="chunk_adapter.weight"):
    begin, _ = header[name]["data_offsets"]
    width = 4 if header[name]["dtype"] == "F32" else 2
    body[begin:begin + width] = b"\xff" * width
    return join_safetensors(header, bytes(body))


adapter_tensors("empty", lambda h, b: b"")
adapter_tensors("cut short", lambda h, b: join_safetensors(h, bytes(b[:-10])))
adapter_tensors("NaN in the Chunk Adapter", with_nan)
adapter_tensors("NaN in a QK Adapter", lambda h, b: with_nan(h, b, "layers.3.k_adapter.weight"))
adapter_tensors("a layer missing", lambda h, b: join_safetensors(
    {("x" if k == "layers.2.q_adapter.weight" else k): v for k, v in h.items()}, bytes(b)))


@case("adapter_model.safetensors", "missing")
def adapter_without_tensors(work):
    shutil.copy(ADAPTER / "adapter_config.json", work)
    return ask(NEEDLE, "--adapter", str(work))


@case("adapter_model.safetensors", "a model for an adapter")
def model_for_adapter(work):
    return ask(NEEDLE, "--adapter", str(NEEDLE))


# ---- GGUF


U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


class Gguf:
    """A sound GGUF file of the tiny model, or of the needle model, taken apart so that any part can be wrong."""

    def __init__(self, path):
        data = path.read_bytes()
        self.at = 24
        self.magic, self.version, n_tensors, n_values = struct.unpack("<4sIQQ", data[:24])
        self.values = {}  # key: (type, bytes)
        for _ in range(n_values):
            key = self.string(data).decode()
            kind, = struct.unpack_from("<I", data, self.at)
            self.at += 4
            begin = self.at
            self.skip(data, kind)
            self.values[key] = (kind, data[begin:self.at])
        self.tensors = {}  # name: [dims, type, offset]
        for _ in range(n_tensors):
            name = self.string(data).decode()
            n_dims, = struct.unpack_from("<I", data, self.at)
            *dims, kind, offset = struct.unpack_from(f"<{n_dims}QIQ", data, self.at + 4)
            self.at += 4 + 8 * n_dims + 12
            self.tensors[name] = [dims, kind, offset]
        self.body = data[(self.at + 31) // 32 * 32:]
        self.n_tensors = self.n_values = None  # as they are

    def string(self, data):
        n, = struct.unpack_from("<Q", data, self.at)
        self.at += 8 + n
        return data[self.at - n:self.at]

    def skip(self, data, kind):
        if kind == STRING:
            self.string(data)
        elif kind == ARRAY:
            element, n = struct.unpack_from("<IQ", data, self.at)
            self.at += 12
            for _ in range(n):
                self.skip(data, element)
        else:
            self.at += {0: 1, 1: 1, BOOL: 1, 2: 2, 3: 2, U64: 8, 11: 8, 12: 8}.get(kind, 4)

    def join(self):
        text = lambda t: struct.pack("<Q", len(t)) + (t if isinstance(t, bytes) else t.encode())
        counts = [len(self.tensors) if self.n_tensors is None else self.n_tensors,
                  len(self.values) if self.n_values is None else self.n_values]
        data = self.magic + struct.pack("<IQQ", self.version, *counts)
        for key, (kind, value) in self.values.items():
            data += text(key) + struct.pack("<I", kind) + value
        for name, (dims, kind, offset) in self.tensors.items():
            data += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        return data + bytes(-len(data) % 32) + self.body


def gguf(name, change=None, raw=None, model=TINY, arguments=None):
    @case("GGUF", name)
    def make(work):
        sound = work / "sound.gguf"
        subprocess.run([PROGRAM, "quantize", str(model), str(sound), "--type", "q8_0"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if raw is None:
            parts = Gguf(sound)
            change(parts)
            data = parts.join()
        else:
            data = raw(sound.read_bytes())
        bad = work / "model.gguf"
        bad.write_bytes(data)
        if arguments is not None:
            return arguments(work, bad)
        return bench(bad) if model == TINY else ask(bad)


def gguf_value(key, kind, value, model=TINY):
    name = f"{key} {value if len(value) < 12 else str(value[:12]) + '...'} as type {kind}"
    gguf(name, lambda g: g.values.update({key: (kind, value)}), model=model)


def u32(value):
    return struct.pack("<I", value)


def gguf_text(value):
    return struct.pack("<Q", len(value)) + value


def strings(*values):
    return u32(STRING) + struct.pack("<Q", len(values)) + b"".join(gguf_text(v) for v in values)


GQ = "blk.0.attn_q.weight"
HUGE = (1 << 64) - 1
gguf("the magic alone", raw=lambda d: d[:4])
gguf("another magic", raw=lambda d: b"GGJT" + d[4:])
gguf("half of the metadata", raw=lambda d: d[:200])
gguf("cut before the data", raw=lambda d: d[:len(d) // 4])
gguf("cut in the data", raw=lambda d: d[:-5000])
gguf("all zero behind the magic", raw=lambda d: d[:4] + bytes(len(d)))
gguf("all ones behind the magic", raw=lambda d: d[:4] + b"\xff" * len(d))
for version in (0, 1, 4, 3 << 24):
    gguf(f"version {version}", lambda g, v=version: setattr(g, "version", v))
for count in (1000, 1 << 40, HUGE):
    gguf(f"{count} tensors", lambda g, n=count: setattr(g, "n_tensors", n))
    gguf(f"{count} values", lambda g, n=count: setattr(g, "n_values", n))
gguf("no tensors", lambda g: g.tensors.clear())
gguf("no metadata", lambda g: g.values.clear())
gguf_value("general.name", 99, b"")
gguf_value("general.name", STRING, struct.pack("<Q", HUGE))
gguf_value("general.name", STRING, struct.pack("<Q", 1 << 40))
gguf_value("general.name", ARRAY, u32(U32) + struct.pack("<Q", 1 << 61))
gguf_value("general.name", ARRAY, u32(STRING) + struct.pack("<Q", HUGE))
gguf_value("general.name", ARRAY, u32(ARRAY) + struct.pack("<Q", 1))
gguf_value("general.alignment", U32, u32(0))
gguf_value("general.alignment", U32, u32(33))
gguf_value("general.alignment", STRING, gguf_text(b"32"))
gguf_value("split.count", 2, b"\2\0")
gguf_value("general.architecture", STRING, gguf_text(b"gpt2"))
gguf_value("general.architecture", STRING, gguf_text(b"llama\n"))
gguf_value("general.architecture", U32, u32(1))
for key in ("block_count", "embedding_length", "attention.head_count", "attention.key_length", "feed_forward_length"):
    gguf_value(f"llama.{key}", U32, u32(0))
    gguf_value(f"llama.{key}", U32, u32(0xffffffff))
gguf_value("llama.block_count", F32, struct.pack("<f", 3))
gguf_value("llama.attention.head_count", ARRAY, u32(U32) + struct.pack("<Q", 1) + u32(4))
gguf_value("llama.attention.head_count_kv", U32, u32(3))
gguf_value("llama.attention.layer_norm_rms_epsilon", F32, struct.pack("<f", float("nan")))
gguf_value("llama.rope.freq_base", F32, struct.pack("<f", 0))
gguf_value("llama.rope.dimension_count", U32, u32(8))
gguf_value("llama.rope.scaling.type", STRING, gguf_text(b"longrope"))
gguf_value("llama.expert_count", U32, u32(8))
gguf_value("llama.attention.sliding_window", F32, struct.pack("<f", 16))
for key in ("general.architecture", "llama.block_count", "llama.embedding_length"):
    gguf(f"{key} missing", lambda g, k=key: g.values.pop(k))
for kind in (9, 16, 29, 35, 40, 26, 1000):
    gguf(f"a matrix of type {kind}", lambda g, k=kind: g.tensors[GQ].__setitem__(1, k))
for dims in ([], [1] * 5, [0, 64], [1 << 32, 1 << 32], [HUGE], [33, 64], [64], [64, 32], [32, 64]):
    gguf(f"a matrix of {dims}", lambda g, d=dims: g.tensors[GQ].__setitem__(0, d))
for offset in (1, 1 << 40, HUGE - 31):
    gguf(f"a tensor at {offset}", lambda g, o=offset: g.tensors[GQ].__setitem__(2, o))
gguf("two tensors on the same bytes", lambda g: g.tensors[GQ].__setitem__(2, g.tensors["blk.1.attn_q.weight"][2]))
for kind in (2, 3, 6):
    gguf(f"a matrix of 34 bytes a block called type {kind}", lambda g, k=kind: g.tensors[GQ].__setitem__(1, k))
gguf("the last matrix of a smaller type", lambda g: max(g.tensors.values(), key=lambda t: t[2]).__setitem__(1, 2))
gguf("bytes behind the last tensor", raw=lambda d: d + bytes(4096))
gguf("a missing tensor", lambda g: g.tensors.pop(GQ))
gguf("an unknown tensor", lambda g: g.tensors.update({"blk.0.attn_rot_embd.weight": g.tensors.pop(GQ)}))
gguf("a tensor with a long name", lambda g: g.tensors.update({"x" * 65: g.tensors.pop(GQ)}))
gguf("a bias for one layer only", lambda g: g.tensors.update({"blk.1.attn_q.bias": g.tensors.pop("blk.1.attn_norm.weight")}))
gguf("a norm that is NaN", lambda g: setattr(g, "body", g.body[:g.tensors["output_norm.weight"][2]] + b"\xff" * 4 +
                                             g.body[g.tensors["output_norm.weight"][2] + 4:]))
gguf_value("tokenizer.ggml.model", STRING, gguf_text(b"llama"), NEEDLE)
gguf_value("tokenizer.ggml.pre", STRING, gguf_text(b"default"), NEEDLE)
gguf_value("tokenizer.ggml.tokens", STRING, gguf_text(b"a"), NEEDLE)
gguf_value("tokenizer.ggml.tokens", ARRAY, strings(b"a", b"b"), NEEDLE)
gguf_value("tokenizer.ggml.tokens", ARRAY, strings(*[b"\xff"] * 4096), NEEDLE)
gguf_value("tokenizer.ggml.tokens", ARRAY, strings(*[b"a"] * 4096), NEEDLE)
gguf_value("tokenizer.ggml.merges", ARRAY, strings(b"a b c"), NEEDLE)
gguf_value("tokenizer.ggml.merges", ARRAY, strings(b"\xe4\xb8\xad \xe6\x96\x87"), NEEDLE)
gguf_value("tokenizer.ggml.token_type", ARRAY, u32(5) + struct.pack("<Q", 0), NEEDLE)
gguf_value("tokenizer.ggml.token_type", ARRAY, u32(5) + struct.pack("<Q", 4096) + u32(77) * 4096, NEEDLE)
gguf_value("tokenizer.ggml.bos_token_id", U32, u32(1 << 30), NEEDLE)
gguf_value("tokenizer.ggml.eos_token_id", STRING, gguf_text(b"4"), NEEDLE)
gguf("no chat template", lambda g: g.values.pop("tokenizer.chat_template"), model=NEEDLE,
     arguments=lambda work, bad: ask(bad, "--chat"))
gguf("a model without vocabulary asked for text", lambda g: None, arguments=lambda work, bad: ask(bad))
gguf("inspected after a cut", raw=lambda d: d[:-5000], arguments=lambda work, bad: ["inspect", str(bad)])
gguf("quantised twice", lambda g: None,
     arguments=lambda work, bad: ["quantize", str(bad), str(work / "o.gguf"), "--type", "q4_0"])
gguf("quantised onto a folder", lambda g: None,
     arguments=lambda work, bad: ["quantize", str(bad), str(work), "--type", "q8_0"])
gguf("quantised into a folder that is not there", lambda g: None,
     arguments=lambda work, bad: ["quantize", str(bad), str(work / "no/o.gguf"), "--type", "q8_0"])
gguf("quantised onto a full disk", lambda g: None,
     arguments=lambda work, bad: ["quantize", str(bad), "/dev/full/o.gguf", "--type", "q8_0"])

# ---- text, messages, batches, caches


def training_text(name, file, data, *more):
    @case("training text", name)
    def make(work):
        (work / file).write_bytes(data)
        return ["train", "--model", str(NEEDLE), "--data", str(work / file), "--out", str(work / "out"), *more]


training_text("empty", "a.txt", b"")
training_text("spaces", "a.txt", b" \n \n")
training_text("invalid UTF-8", "a.txt", b"Hello. \xff There.")
training_text("JSON lines: no JSON", "a.jsonl", b'{"text": "One."}\n{"text"\n')
training_text("JSON lines: a number", "a.jsonl", b'{"text": 5}\n')
training_text("JSON lines: no text", "a.jsonl", b'{"txt": "One."}\n')
training_text("JSON lines: a surrogate", "a.jsonl", b'{"text": "\\ud800"}\n')
training_text("a kind of file that is not read", "a.pdf", b"%PDF")
training_text("a sequence longer than all", "a.txt", b"One. Two.", "--seq-len", "1000000000000")


@case("training text", "a folder without text")
def empty_folder(work):
    (work / "data").mkdir()
    return ["train", "--model", str(NEEDLE), "--data", str(work / "data"), "--out", str(work / "out")]


def checkpoint(name, data):
    @case("checkpoint", name)
    def make(work):
        (work / "a.txt").write_text("One sentence. Another one. " * 400)
        (work / "out").mkdir()
        (work / "out/checkpoint.safetensors").write_bytes(data)
        return ["train", "--model", str(NEEDLE), "--data", str(work / "a.txt"), "--out", str(work / "out"), "--resume",
                "--seq-len", "512", "--sequences", "1", "--epochs", "1"]


checkpoint("empty", b"")
checkpoint("another safetensors file", (ADAPTER / "adapter_model.safetensors").read_bytes())
checkpoint("metadata that is no JSON", join_safetensors({"__metadata__": {"chunkllm_checkpoint": "{"}}, b""))
checkpoint("metadata without fields", join_safetensors({"__metadata__": {"chunkllm_checkpoint": "{}"}}, b""))
checkpoint("a negative step", join_safetensors({"__metadata__": {"chunkllm_checkpoint": json.dumps(
    {"step": -1, "n_tokens": 0, "seconds": 0, "settings": "{}"})}}, b""))
checkpoint("other settings", join_safetensors({"__metadata__": {"chunkllm_checkpoint": json.dumps(
    {"step": 1, "n_tokens": 0, "seconds": 0, "settings": "{}"})}}, b""))


def prompt_file(name, option, data, *more):
    @case("prompts", name)
    def make(work):
        (work / "f").write_bytes(data)
        return ["generate", "--model", str(NEEDLE), option, str(work / "f"), "--max-tokens", "1",
                *[m.replace("@", str(work)) for m in more]]


prompt_file("an empty prompt file", "--prompt-file", b"")
prompt_file("a prompt of invalid UTF-8", "--prompt-file", b"caf\xe9")
prompt_file("a prompt longer than the context", "--prompt-file", b"word " * 5000, "--ctx", "100")
prompt_file("messages: no JSON", "--messages", b"[")
prompt_file("messages: an object", "--messages", b"{}")
prompt_file("messages: none", "--messages", b"[]")
prompt_file("messages: a role that is unknown", "--messages", b'[{"role":"wizard","content":"x"}]')
prompt_file("messages: no content", "--messages", b'[{"role":"user"}]')
prompt_file("messages: content that is a number", "--messages", b'[{"role":"user","content":5}]')
prompt_file("messages: a field that is a number", "--messages", b'[{"role":"user","content":"x","n":5}]')
prompt_file("messages: calls that are no array", "--messages", b'[{"role":"user","content":"x","tool_calls":"f"}]')
prompt_file("messages: a field twice", "--messages", b'[{"role":"user","content":"x","content":"y"}]')
prompt_file("messages: many fields", "--messages", json.dumps(
    [{"role": "user", "content": "x", **{f"k{i}": "v" for i in range(100000)}}]).encode())
prompt_file("messages: an assistant at the end", "--messages", b'[{"role":"assistant","content":"x"}]')
prompt_file("batch: no JSON", "--input", b"{\n", "--output", "@/o")
prompt_file("batch: a number", "--input", b"5\n", "--output", "@/o")
prompt_file("batch: no prompt", "--input", b"{}\n", "--output", "@/o")
prompt_file("batch: an option in a line", "--input", b'{"prompt":"Hi.","max_tokens":5}\n', "--output", "@/o")
prompt_file("batch: a bad line after a good one", "--input", b'{"prompt":"Hi."}\n{"prompt":3}\n', "--output", "@/o")
prompt_file("batch: an output that cannot be", "--input", b'{"prompt":"Hi."}\n', "--output", "@/no/such/o")


def cache(name, change):
    @case("prompt cache", name)
    def make(work):
        good = work / "good"
        subprocess.run([PROGRAM, *ask(NEEDLE, "--adapter", str(ADAPTER), "--save-cache", str(good))], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (work / "bad").write_bytes(change(bytearray(good.read_bytes())))
        return ask(NEEDLE, "--adapter", str(ADAPTER), "--load-cache", str(work / "bad"))


def flipped(at):
    def change(data):
        data[at if at >= 0 else len(data) + at] ^= 0x40
        return bytes(data)
    return change


cache("empty", lambda d: b"")
cache("a few bytes", lambda d: bytes(d[:5]))
cache("half of it", lambda d: bytes(d[:len(d) // 2]))
cache("all but the last byte", lambda d: bytes(d[:-1]))
cache("a byte more", lambda d: bytes(d) + b"x")
for at in (0, 8, 12, 16, 24, 40, 64, 100, 200, 1000, -1, -40):
    cache(f"a bit flipped at byte {at}", flipped(at))
cache("all zero", lambda d: bytes(len(d)))
cache("all ones", lambda d: b"\xff" * len(d))

# ---- options


def option(name, *arguments):
    @case("options", name)
    def make(work):
        return [a.replace("@", str(work)) for a in arguments]


option("no command")
option("an unknown command", "fly")
option("an unknown option", "generate", "--model", str(NEEDLE), "--prompt", "x", "--frobnicate")
option("a model that does not exist", "generate", "--model", "/no/such/folder", "--prompt", "x")
option("a file for a model", "generate", "--model", str(NEEDLE / "config.json"), "--prompt", "x")
option("a prompt and a prompt file", "generate", "--model", str(NEEDLE), "--prompt", "x", "--prompt-file", "y")
option("oracle without adapters", "generate", "--model", str(NEEDLE), "--prompt", "x", "--policy", "oracle")
option("a seed twice", "generate", "--model", str(NEEDLE), "--prompt", "x", "-s", "1", "--seed", "2")
option("adapters into a model's folder", "train", "--model", str(NEEDLE), "--data", str(ROOT / "README.md"), "--out", str(TINY))
option("an empty chat template", "generate", "--model", str(NEEDLE), "--prompt", "x", "--chat-template", "")
for name, value in (("--ctx", "0"), ("--ctx", "-5"), ("--ctx", "99999999999999999999"), ("--ctx", "many"),
                    ("--max-tokens", "-1"), ("--temperature", "-1"), ("--temperature", "nan"), ("--top-p", "2"),
                    ("--top-p", "inf"), ("--top-k", "-3"), ("--min-p", "2"), ("--seed", "-1"), ("--threads", "0"),
                    ("--threads", "100000000"), ("--kv-budget", "0"), ("--kv-budget", "-0.5"), ("--kv-budget", "1.5"),
                    ("--kv-budget", "x"), ("--kv-budget", ""), ("--refresh", "never"), ("--refresh", "every:0"),
                    ("--prefill", "half"), ("--policy", "best"), ("--kv-type", "q3"), ("--dtype", "f8"), ("--stop", ""),
                    ("--repeat-penalty", "0"), ("--chat-template", "unknown")):
    option(f"{name} {value!r}", "generate", "--model", str(NEEDLE), "--adapter", str(ADAPTER), "--prompt", "x", name, value)


def judge(result):
    if result is None:
        return "did not end within a minute"
    lines = result.stderr.decode("utf-8", "replace").splitlines()
    if result.returncode not in (1, 2):
        return f"exit code {result.returncode}"
    if result.stdout:
        return "standard output is not empty"
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return f"{len(lines)} lines on standard error"
    return ""


parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--show", action="store_true")
arguments = parser.parse_args()
PROGRAM = str(pathlib.Path(arguments.program).resolve())
n_failed = 0
for group, name, make in CASES:
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        command = make(work)
        try:
            result = subprocess.run([PROGRAM, *command], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                                    env={**os.environ, "CHUNKLLM_ADAPTERS": ""})  # no line about an adapter
        except subprocess.TimeoutExpired:
            result = None
        problem = judge(result)
        message = "" if result is None else result.stderr.decode("utf-8", "replace").strip()
        message = message.replace(folder, "DIR").replace(str(ROOT) + "/", "")
        if problem:
            n_failed += 1
            print(f"FAILED {group}: {name}: {problem}\n  {message[:300]}", file=sys.stderr)
        elif arguments.show:
            print(f"{group}: {name}: exit {result.returncode}, {message}")
print(f"{len(CASES)} inputs, {n_failed} not refused as they should be")
sys.exit(1 if n_failed else 0)
