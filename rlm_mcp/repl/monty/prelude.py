"""What stands in a Monty session before the first cell, in Monty's own Python.

Monty has no `globals`, `del`, `__len__` or inheritance, so names are looked up with `eval`, `files`
is a plain dict, and what failed in a batch is None. The host side of the names that start with
`_rlm_ask_` and of `_rlm_missing` is in `session.py`.
"""

QUERIES = ("llm_query", "rlm_query", "llm_query_batched", "rlm_query_batched")
OURS = (*QUERIES, "FINAL", "FINAL_VAR", "SHOW_VARS", "context", "files", "contexts")

SINGLE = """
def NAME(prompt=None, context=None, model=None, *, query=None, text=None):
    return _rlm_ask_NAME(
        _rlm_word(prompt), _rlm_plain(context), model, query=_rlm_word(query), text=_rlm_plain(text)
    )
"""
BATCHED = """
def NAME(prompts=None, context=None, model=None, *, queries=None, items=None):
    return _rlm_ask_NAME(
        _rlm_plain(prompts), _rlm_plain(context), model,
        queries=_rlm_plain(queries), items=_rlm_plain(items),
    )
"""
SOURCE = '''
import json as _rlm_json
import random as _rlm_random

_rlm_random.seed(0)
_rlm_names = []
_rlm_limit = 0
_rlm_final = None
_rlm_value = None
_rlm_kept = {}
answer = {'content': '', 'ready': False}


def _rlm_word(value):
    return None if value is None else str(value)


def _rlm_plain(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return [_rlm_plain(item) for item in value]
    if hasattr(value, '__iter__') and not isinstance(value, (dict, bytes)):
        return [_rlm_plain(item) for item in value]
    return str(value)


def _rlm_cut(text, chars):
    if len(text) <= chars:
        return text
    half = chars // 2
    return f'{text[:half]} ...[{len(text) - 2 * half:,} characters]... {text[-half:]}'


def _rlm_repr(value, chars, items, levels):
    if isinstance(value, str) and len(value) > chars:
        half = chars // 2
        return f'<str of {len(value):,} characters: {value[:half]!r} ... {value[-half:]!r}>'
    kind = type(value)
    if kind is list or kind is tuple or kind is set:
        begin, end = ('[', ']') if kind is list else ('(', ')') if kind is tuple else ('{', '}')
        if value and levels:
            shown = [_rlm_repr(item, chars, items, levels - 1) for item in list(value)[:items]]
            if len(value) > items:
                shown.append('...')
            only = ',' if kind is tuple and len(value) == 1 else ''
            return begin + ', '.join(shown) + only + end
        if value:
            return f'{begin}...{end}'
    if kind is dict and value:
        if not levels:
            return '{...}'
        shown = []
        for key in value:
            if len(shown) == items:
                shown.append('...')
                break
            one = _rlm_repr(key, chars, items, levels - 1)
            shown.append(one + ': ' + _rlm_repr(value[key], chars, items, levels - 1))
        return '{' + ', '.join(shown) + '}'
    try:
        return _rlm_cut(repr(value), chars)
    except Exception as error:
        return f'<{kind.__name__}, whose repr raises {type(error).__name__}>'


def _rlm_echo(chars):
    global _rlm_value
    value, _rlm_value = _rlm_value, None
    if value is not None:
        print(_rlm_repr(value, chars, 100, 6))


def _rlm_text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple, dict)):
        try:
            return _rlm_json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            return repr(value)
    return str(value)


def _rlm_give(value, via):
    global _rlm_final
    text = _rlm_text(value)
    _rlm_final = [text[:_rlm_limit], via, len(text) > _rlm_limit]


def FINAL(value):
    """Give the answer."""
    _rlm_give(value, 'FINAL')


def FINAL_VAR(name):
    """Give the value of a variable, named or handed over, as the answer."""
    _rlm_give(_rlm_value_of(name), 'FINAL_VAR')


def _rlm_value_of(name):
    if not isinstance(name, str):
        return name
    bound = name.strip().strip('"`' + "'")
    if bound == 'answer':
        return answer.get('content') if isinstance(answer, dict) else answer
    if not bound.isidentifier():
        return name
    for known in _rlm_names:
        try:
            value = eval(known)
        except NameError:
            continue
        if known == bound:
            return value
        if isinstance(value, str) and value == name:
            return name
    raise NameError(_rlm_missing(bound))


def _rlm_variables():
    listed = []
    for name in _rlm_names:
        try:
            value = eval(name)
        except NameError:
            continue
        kind = type(value).__name__
        if kind == 'module':
            continue
        try:
            size = len(value)
        except Exception:
            size = None
        preview = _rlm_repr(value, 40, 4, 2)
        listed.append([name, kind, size, preview[:77] + '...' if len(preview) > 80 else preview])
    return listed


def SHOW_VARS():
    """Print the variables that cells have bound."""
    for name, kind, size, preview in _rlm_variables():
        length = '' if size is None else f'[{size:,}]'
        print(f'{name}: {kind}{length} = {preview}')


def input(prompt=''):
    raise RuntimeError('input() has nobody to ask here; everything there is stands in `context`')


def exit(code=None):
    raise SystemExit('' if code is None else str(code))


quit = exit


class _rlm_Context:
    def __init__(self, name, text, files):
        self.name = name
        self.text = text
        self.files = files

    def __repr__(self):
        return (
            f'<context {self.name!r}: .text is a str of {len(self.text):,} characters,'
            f' .files maps {len(self.files):,} paths to their text>'
        )


def _rlm_load(name, text, places):
    files = {}
    for path, start, chars in places:
        files[path] = text if chars == len(text) else text[start : start + chars]
    return _rlm_Context(name, text, files)


def _rlm_use(loaded):
    global context, files, contexts
    first = loaded[0] if loaded else _rlm_Context('', '', {})
    context, files = first.text, first.files
    contexts = {}
    for item in loaded:
        contexts[item.name] = item
    _rlm_keep()


def _rlm_begin(fresh):
    global answer, _rlm_final
    _rlm_final = None
    if fresh:
        answer = {'content': '', 'ready': False}
        _rlm_random.seed(0)


def _rlm_end():
    draft = None
    content = answer.get('content') if isinstance(answer, dict) else None
    if content is not None and content != '':
        if answer.get('ready'):
            answer['ready'] = False
            if _rlm_final is None:
                _rlm_give(content, 'answer')
            else:
                draft = _rlm_text(content)[:_rlm_limit]
        else:
            draft = _rlm_text(content)[:_rlm_limit]
    return [_rlm_final, draft, _rlm_variables(), _rlm_restore()]
'''


def source() -> str:
    """All of it."""
    functions = [
        (BATCHED if name.endswith("batched") else SINGLE).replace("NAME", name) for name in QUERIES
    ]
    keep = f"\ndef _rlm_keep():\n    _rlm_kept.update({{{_pairs()}}})\n"
    lines = [f"\ndef _rlm_restore():\n    global {', '.join(OURS)}\n    restored = []"]
    lines += [
        f"    if {name} is not _rlm_kept[{name!r}]:\n"
        f"        restored.append({name!r})\n        {name} = _rlm_kept[{name!r}]"
        for name in OURS
    ]
    return "\n".join([SOURCE, *functions, keep, *lines, "    return restored\n_rlm_use([])\n"])


def _pairs() -> str:
    return ", ".join(f"{name!r}: {name}" for name in OURS)
