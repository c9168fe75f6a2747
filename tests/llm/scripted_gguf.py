"""A model file of a few KB that says a script: llama.cpp runs it like any other model.

Its weights are chosen, not learnt. Attention and feed-forward add nothing, so the last token alone
decides the next one: a cue leads to the one token that is its whole reply, and that to the end of
the turn. The chat template picks the cue by looking at the messages. Any other text is one token a
byte, so prompts can be counted by hand.
"""

import struct
from array import array
from dataclasses import dataclass
from pathlib import Path

WIDTH = 32
TRAINED_WINDOW = 32_768
ENDLESS = "Go on for ever."
END_TOKEN = "<|im_end|>"
LOUD = 50.0

NORMAL, CONTROL = 1, 3
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


@dataclass(frozen=True)
class Said:
    """One reply: the Jinja condition on `messages` under which it is given, and its text."""

    when: str
    text: str


def write_model(path: Path, *replies: Said, name: str = "scripted", slow_start: int = 0) -> Path:
    """Write a model that gives the first of `replies` whose condition holds.

    A last message of `ENDLESS` is answered with one letter until something stops it. `slow_start`
    is how many times the template goes round in a loop when the server tries it at its start.
    """
    cues = [f"<|cue{number}|>" for number in range(len(replies) + 1)]
    controls = ["<|endoftext|>", "<|im_start|>", END_TOKEN, *cues]
    tokens = [*controls, *(encoded(bytes([byte])) for byte in range(256))]
    said = [len(tokens) + number for number in range(len(replies))]
    tokens += [encoded(reply.text.encode()) for reply in replies]
    letter = tokens.index("a")
    tokens.append("aa")  # the loader wants a merge

    after = {controls.index(cues[0]): letter, letter: letter}
    for number, token in enumerate(said, 1):
        after |= {controls.index(cues[number]): token, token: controls.index(END_TOKEN)}
    tensors = weights(len(tokens), after)
    types = [CONTROL] * len(controls) + [NORMAL] * (len(tokens) - len(controls))
    fields = architecture(name) | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": ["a a"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": template(cues, replies, slow_start),
    }
    path.write_bytes(gguf(fields, tensors))
    return path


def template(cues: list[str], replies: tuple[Said, ...], slow_start: int) -> str:
    """ChatML, with a cue for what is to be said where the assistant's turn begins."""
    chosen = f"{{% if messages[-1]['content'] == '{ENDLESS}' %}}{cues[0]}"
    for cue, reply in zip(cues[1:], replies, strict=True):
        chosen += f"{{% elif {reply.when} %}}{cue}"
    delay = f"{{% for each in range({slow_start}) %}}{{% endfor %}}"
    return (
        (delay if slow_start else "")
        + "{% for each in messages %}<|im_start|>{{ each['role'] }}\n{{ each['content'] }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        + chosen
        + "{% endif %}"
        "{% endif %}"
    )


def weights(vocabulary: int, after: dict[int, int]) -> dict[str, tuple[tuple[int, ...], array]]:
    """Tensors by name: shape, fastest dimension first, and values."""
    embedding, output = zeros(vocabulary * WIDTH), zeros(vocabulary * WIDTH)
    for number, (token, following) in enumerate(after.items()):
        embedding[token * WIDTH + number] = 1.0
        output[following * WIDTH + number] = LOUD
    square, ones = zeros(WIDTH * WIDTH), array("f", [1.0] * WIDTH)
    block = {"attn_norm": ((WIDTH,), ones), "ffn_norm": ((WIDTH,), ones)}
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        block[part] = ((WIDTH, WIDTH), square)
    return {
        "token_embd.weight": ((WIDTH, vocabulary), embedding),
        "output_norm.weight": ((WIDTH,), ones),
        "output.weight": ((WIDTH, vocabulary), output),
        **{f"blk.0.{part}.weight": tensor for part, tensor in block.items()},
    }


def zeros(count: int) -> array:
    return array("f", bytes(4 * count))


def architecture(name: str) -> dict[str, object]:
    return {
        "general.architecture": "llama",
        "general.name": name,
        "llama.context_length": TRAINED_WINDOW,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": WIDTH,
        "llama.attention.head_count": 1,
        "llama.attention.head_count_kv": 1,
        "llama.rope.dimension_count": WIDTH,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }


def encoded(raw: bytes) -> str:
    """Bytes as a byte-level vocabulary spells them: printable ones as they are, others shifted."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in plain]
    return "".join(chr(b) if b in plain else chr(256 + others.index(b)) for b in raw)


def gguf(fields: dict[str, object], tensors: dict[str, tuple[tuple[int, ...], array]]) -> bytes:
    """The file: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(string(key) + typed(value) for key, value in fields.items())
    body = b""
    for name, (shape, values) in tensors.items():
        head += string(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}QIQ", *shape, 0, len(body))
        body += padded(values.tobytes())
    return padded(head) + body


def padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 32)


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def typed(value: object) -> bytes:
    kind, raw = packed(value)
    return struct.pack("<I", kind) + raw


def packed(value: object) -> tuple[int, bytes]:
    match value:
        case bool():
            return BOOL, struct.pack("<?", value)
        case int():
            return UINT32, struct.pack("<I", value)
        case float():
            return FLOAT32, struct.pack("<f", value)
        case str():
            return STRING, string(value)
        case list():
            items = [packed(each) for each in value]
            raw = b"".join(each for _, each in items)
            # Kinds of tokens are signed, whatever else is not.
            kind = INT32 if items[0][0] == UINT32 else items[0][0]
            return ARRAY, struct.pack("<IQ", kind, len(items)) + raw
    raise TypeError(value)
