"""What a perfect root model runs to answer questions about code; each sets `answer`.

The capitals are bound by `program`, to what the question names.
"""

from collections.abc import Mapping

FUNCTIONS = """
import ast

def functions(path):
    left = [(ast.parse(files[path]), "")]
    while left:
        node, within = left.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                if not isinstance(child, ast.ClassDef):
                    yield within + child.name, child
                left.append((child, within + child.name + "."))
            elif not isinstance(child, ast.expr):
                left.append((child, within))

def function(name):
    for place in symbols(name.split(".")[0]):
        for found, node in functions(place.path):
            if found == name:
                return node
"""

WHERE_DEFINED = """
found = symbols(NAME)[0]
answer = f"{found.path}:{found.first}"
"""

SUBCLASSES = """
import ast

parsed = {}
def classes(path):
    if path not in parsed:
        parsed[path] = [
            (node.name, {ast.unparse(b).rpartition(".")[2] for b in node.bases
                         if isinstance(b, (ast.Name, ast.Attribute))})
            for node in ast.walk(ast.parse(files[path])) if isinstance(node, ast.ClassDef)
        ]
    return parsed[path]

found, left = set(), {NAME}
while left:
    new = {
        name
        for path, text in files.items() if any(known in text for known in left)
        for name, bases in classes(path) if bases & left
    }
    left = new - found
    found |= new
answer = ", ".join(sorted(found))
"""

IMPORTERS = """
import ast

found = []
for path, text in files.items():
    if NAME not in text:
        continue
    names = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module)
    if any(name == NAME or name.startswith(NAME + ".") for name in names):
        found.append(path)
answer = ", ".join(found)
"""

COUNT_FUNCTIONS = """
def counts(node):
    taken = node.args
    parameters = len(taken.posonlyargs + taken.args + taken.kwonlyargs)
    parameters += (taken.vararg is not None) + (taken.kwarg is not None)
    decorators = [ast.unparse(mark) for mark in node.decorator_list]
    return CONDITION

answer = sum(counts(node) for path in files for _, node in functions(path))
"""

COUNT_BARE = """
import ast

answer = sum(
    isinstance(node, ast.ExceptHandler) and node.type is None
    for text in files.values() if "except:" in text
    for node in ast.walk(ast.parse(text))
)
"""

LARGEST = """
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)

def size(node):
    if MEASURE == "lines":
        return node.end_lineno - node.lineno
    return sum(isinstance(inner, BRANCHES) for inner in ast.walk(node))

inside = [path for path in files if path == SCOPE or path.startswith(SCOPE + "/")]
answer = max((size(node), name) for path in inside for name, node in functions(path))[1]
"""

DEFAULT = """
taken = function(NAME).args
plain = [arg.arg for arg in taken.posonlyargs + taken.args]
given = dict(zip(plain[len(plain) - len(taken.defaults):], taken.defaults))
given |= {arg.arg: value for arg, value in zip(taken.kwonlyargs, taken.kw_defaults)}
answer = repr(ast.literal_eval(given[PARAMETER]))
"""

RAISES = """
found, left = set(), list(function(NAME).body)
while left:
    node = left.pop()
    if isinstance(node, ast.Raise) and node.exc is not None:
        what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        found.add(ast.unparse(what).rpartition(".")[2])
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        left += ast.iter_child_nodes(node)
answer = ", ".join(sorted(found))
"""

REACHES = """
import ast

top = {
    node.name: node for node in ast.parse(files[PATH]).body
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
}
chains = [[FIRST]]
answer = "none"
for chain in chains:
    if chain[-1] == LAST:
        answer = " -> ".join(chain)
        break
    called = {
        inner.func.id for inner in ast.walk(top[chain[-1]])
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name)
    }
    seen = {name for known in chains for name in known}
    chains += [[*chain, name] for name in sorted(called & top.keys() - seen)]
"""

BY_DOCSTRING = """
import re

words = SHOWN.replace(MASK, " ").split()
form = re.compile(r"\\w+".join(re.escape(part) for part in SHOWN.split(MASK)))
answer = "none"
for path, text in files.items():
    if all(word in text for word in words):
        for name, node in functions(path):
            if form.match(" ".join((ast.get_docstring(node) or "").split())):
                answer = name
"""

CHOICE = """
answer = next(letter for letter, option in OPTIONS.items() if option == str(answer))
"""


def program(body: str, names: Mapping[str, object]) -> str:
    """A whole program: what it is asked about, the functions it needs, and the answer given."""
    bound = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    needed = FUNCTIONS if "function" in body else ""
    return f"{bound}{needed}{body}\nFINAL(answer)\n"
