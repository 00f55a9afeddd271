#!/usr/bin/env python3
"""Writes the tiny scripted chat model that the tests run on llama.cpp: no download, no training.

    pip install numpy gguf
    python tiny_model.py OUT.gguf

The file is a real llama-architecture model, small enough to be a table. The embedding is one-hot, the one
layer is all zeros, and the output matrix says outright which token follows which. The chat template ends
the prompt with one *flow* token, and that token picks the script the model then recites:

    plain request                       a sentence with an é and an emoji whose four bytes are four tokens
    "[think]" in the user's text        <think>..</think>, then an answer
    get_weather among the tools         a call of get_weather
    exec_command among the tools        a call of exec_command that writes tiny.txt
    the last message is a tool result   a closing sentence
    "[say]"                             the plain sentence, whatever tools are offered
    "[saycall]" "[thinkcall]"           text, or thinking, and then the call of get_weather
    "[twocalls]"                        two parallel calls of get_weather
    "[loop]"                            never stops by itself

The template leaves out the system prompt and the tools' schemas, so that the prompt of a coding agent (50 kB,
and here nearly every byte is a token) stays a few hundred tokens long.

Where a grammar (a JSON schema, a required tool call) forbids the scripted token, weaker entries of the table
take over; they close strings, numbers and lists at once, so that constrained output is short.
"""
import sys

import gguf
import numpy as np

NAME = "tiny-scripted"
CONTEXT = 16384
HEAD_DIM = 32
FEED_FORWARD = 32

START, END = "<|im_start|>", "<|im_end|>"
TAGS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]  # one token each, and shown

# What follows what. The token alone is the model's state, so a piece may stand at several places only if the
# same piece follows it everywhere.
SCRIPTS = {
    "say": ["Hello", " from", " a", " tiny", " model:", " every", " word", " is", " one", " token,", " café", " and ",
            *(bytes([b]) for b in "🦙".encode()), " check", " UTF-8", ", then", " it", " stops", " here.", END],
    "think": ["<think>", "\nOkay", ", let", " me", " think", " about", " that", ".\n", "</think>",
              "\n\nMy", " considered", " reply:", " forty", "-two!", END],
    "weather": ["<tool_call>", '\n{"name":', ' "get_weather",', ' "arguments":', ' {"city":', ' "Par', 'is"', "}}\n",
                "</tool_call>", END],
    "exec": ['<tool_call>\n{', '"name":', ' "exec_command"', ', "arguments": {', '"cmd":', ' "echo', " tiny >",
             ' tiny.txt"', "}}\n"],
    "after": ["The", " tool", " has", " answered", "; nothing", " is left", " to do.", END],
    "saycall": ["I'll", " look", " up", " the", " weather", " now.", "\n\n", "<tool_call>"],
    "thinkcall": ["<think>\n", "This", " needs", " a tool.", "\n</think>\n\n", "<tool_call>"],
    "twocalls": ["<tool_call>\n", '{"name": "', 'get_weather", ', '"arguments": ', '{"city": "', "Oslo", '"}}\n',
                 "</tool_call>\n", '<tool_call>\n{"name": "get_', 'weather", "arguments"', ': {"city"', ': "Rome',
                 '"}', "}\n", "</tool_call>"],
    "loop": [" tick", " tock", " tick"],
}
CONTROL = [START, END] + [f"<|flow_{name}|>" for name in SCRIPTS]

# The server reads off this template how calls and thinking are spelled, so both are rendered in the history.
# Of the system prompt it keeps a few characters: a template that ignored it would get it in the user's message.
TEMPLATE = r"""
{%- macro text(c) -%}
{%- if c is string -%}{{ c }}{%- elif c -%}{%- for p in c -%}{%- if p.text is defined -%}{{ p.text }}{%- endif -%}{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- set offered = namespace(call='say') -%}
{%- if tools -%}
{{ '<|im_start|>system\ntools:' }}
{%- for t in tools -%}
{{ ' ' + t.function.name }}
{%- if t.function.name == 'get_weather' -%}{%- set offered.call = 'weather' -%}{%- endif -%}
{%- if t.function.name == 'exec_command' -%}{%- set offered.call = 'exec' -%}{%- endif -%}
{%- endfor -%}
{{ '<|im_end|>\n' }}
{%- endif -%}
{%- set ns = namespace(flow='say') -%}
{%- for m in messages -%}
{%- set c = text(m.content) -%}
{%- if m.role == 'user' -%}
{%- set ns.flow = offered.call -%}
{%- if '[think]' in c and (enable_thinking is not defined or enable_thinking) -%}{%- set ns.flow = 'think' -%}{%- endif -%}
{%- for name in ['say', 'saycall', 'thinkcall', 'twocalls', 'loop'] -%}
{%- if '[' + name + ']' in c -%}{%- set ns.flow = name -%}{%- endif -%}
{%- endfor -%}
{{ '<|im_start|>user\n' + c + '<|im_end|>\n' }}
{%- elif m.role == 'assistant' -%}
{{ '<|im_start|>assistant\n' }}
{%- if m.reasoning_content -%}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{%- endif -%}
{{ c }}
{%- if m.tool_calls -%}{%- for call in m.tool_calls -%}
{{ '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
{%- if call.function.arguments is string -%}{{ call.function.arguments }}{%- else -%}{{ call.function.arguments | tojson }}{%- endif -%}
{{ '}\n</tool_call>' }}
{%- endfor -%}{%- endif -%}
{{ '<|im_end|>\n' }}
{%- elif m.role == 'tool' -%}
{%- set ns.flow = 'after' -%}
{{ '<|im_start|>user\n<tool_response>\n' + c + '\n</tool_response><|im_end|>\n' }}
{%- else -%}
{{ '<|im_start|>system\n' + c[:40] + '<|im_end|>\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n<|flow_' + ns.flow + '|>' }}{%- endif -%}
""".strip()


def byte_characters():
    """The printable character that stands for each byte in a byte-level BPE vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


CHARACTERS = byte_characters()


class Vocabulary:
    def __init__(self):
        self.ids, self.bytes, self.types = {}, [], []
        for byte in range(256):
            self.add(bytes([byte]))
        for piece in CONTROL:
            self.add(piece, gguf.TokenType.CONTROL)
        for piece in TAGS:
            self.add(piece, gguf.TokenType.USER_DEFINED)
        for piece in [p for script in SCRIPTS.values() for p in script]:
            if piece not in self.ids:
                self.add(piece)

    def add(self, piece, kind=gguf.TokenType.NORMAL):
        self.ids[piece] = len(self.bytes)
        self.bytes.append(piece if isinstance(piece, bytes) else piece.encode())
        self.types.append(kind)

    def strings(self):
        return [data.decode() if kind != gguf.TokenType.NORMAL else "".join(CHARACTERS[b] for b in data)
                for data, kind in zip(self.bytes, self.types)]


def under_a_grammar(last):
    """How much each byte is wanted after a token that ends in `last`, where the script's own token is forbidden."""
    if last in "{[,(":
        return {'"': 20, "}": 16, "]": 16, "1": 12, "{": 8, "[": 8}
    if last == ":":
        return {'"': 20, "1": 16, "t": 12, "f": 12, "n": 12, "{": 8, "[": 8}
    if last == '"':
        return {"x": 20, "}": 16, ":": 12, ",": 12, "]": 12, '"': 8}
    if last in "}]":
        return {END: 20, "</tool_call>": 18, "}": 16, "]": 16, ",": 12, "\n": 8}
    if last.isdigit():
        return {"}": 16, ",": 12, "]": 12, ".": 4, "0": 4}
    if last.isalpha():
        return {'"': 20}
    return {"{": 20, "[": 16, '"': 12, "1": 8}


def successors(vocabulary):
    """The table: row = the token at hand, column = how much the next one is wanted."""
    ids, size = vocabulary.ids, len(vocabulary.bytes)
    table = np.zeros((size, size), np.float32)
    for row, data in zip(table, vocabulary.bytes):
        row[[ids[bytes([b])] for b in b"abcdefghijklmnopqrstuvwxyz"]] = 2
        for piece, wanted in under_a_grammar(chr(data[-1])).items():
            row[ids[piece if piece in ids else piece.encode()]] = wanted
    follows = {}
    for name, script in SCRIPTS.items():
        script = [f"<|flow_{name}|>", *script, *(["</tool_call>"] if script[-1] == "}}\n" else [])]
        for piece, after in zip(script, script[1:]):
            assert follows.setdefault(piece, after) == after, f"two pieces follow {piece!r}"
            table[ids[piece], ids[after]] = 40
            if after == END:
                table[ids[piece], ids["<tool_call>"]] = 30  # where a call is required, make one instead of ending
    return table


def write(path, vocabulary, table):
    size = len(table)
    g = gguf.GGUFWriter(path, "llama")
    g.add_name(NAME)
    g.add_context_length(CONTEXT)
    g.add_embedding_length(size)
    g.add_block_count(1)
    g.add_feed_forward_length(FEED_FORWARD)
    g.add_head_count(1)
    g.add_head_count_kv(1)
    g.add_key_length(HEAD_DIM)
    g.add_value_length(HEAD_DIM)
    g.add_rope_dimension_count(HEAD_DIM)
    g.add_layer_norm_rms_eps(1e-5)
    g.add_vocab_size(size)
    g.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    g.add_tokenizer_model("gpt2")
    g.add_tokenizer_pre("gpt-2")
    g.add_token_list(vocabulary.strings())
    g.add_token_types(vocabulary.types)
    g.add_token_merges(["t h"])  # never matters: no such token exists, but the list may not be empty
    g.add_eos_token_id(vocabulary.ids[END])
    g.add_pad_token_id(vocabulary.ids[END])
    g.add_add_bos_token(False)
    g.add_chat_template(TEMPLATE)

    half, full = np.float16, np.float32
    g.add_tensor("token_embd.weight", np.eye(size, dtype=half))
    g.add_tensor("output.weight", np.ascontiguousarray(table.T, dtype=half))
    g.add_tensor("output_norm.weight", np.full(size, size ** -0.5, full))  # undoes the norm of a one-hot vector
    g.add_tensor("blk.0.attn_norm.weight", np.ones(size, full))
    g.add_tensor("blk.0.ffn_norm.weight", np.ones(size, full))
    for name, rows, columns in [("attn_q", HEAD_DIM, size), ("attn_k", HEAD_DIM, size), ("attn_v", HEAD_DIM, size),
                                ("attn_output", size, HEAD_DIM), ("ffn_gate", FEED_FORWARD, size),
                                ("ffn_up", FEED_FORWARD, size), ("ffn_down", size, FEED_FORWARD)]:
        g.add_tensor(f"blk.0.{name}.weight", np.zeros((rows, columns), half))
    g.write_header_to_file()
    g.write_kv_data_to_file()
    g.write_tensors_to_file()
    g.close()


if __name__ == "__main__":
    words = Vocabulary()
    write(sys.argv[1], words, successors(words))
