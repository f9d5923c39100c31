"""What can be seen in the text of the sources alone."""
import re

import rooms

FILE_LINES = 600
FUNCTION_LINES = 70
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def includes(tree):
    """(file, line number, is_system, header) of every include."""
    for name in tree.ending(".c", ".h"):
        text = tree.without_comments(name)
        for m in INCLUDE.finditer(text):
            yield name, text.count("\n", 0, m.start()) + 1, m[1] == "<", m[2]


def include_edges(tree):
    found = []
    for name, line, is_system, header in includes(tree):
        if is_system:
            continue
        where = f"{name}:{line}: "
        room = rooms.best(rooms.ROOMS, name)
        if room is None:
            found.append(where + "is in no room of docs/architecture.md")
        elif header.endswith(".pb-c.h") and "/" not in header:
            continue  # generated; CONFINED says who may see it
        elif not (tree.src / header).is_file():
            found.append(where + f'"{header}" is not a path from the top of the checkout')
        elif rooms.below(header, rooms.NOT_FOR.get(room, ())):
            found.append(where + f"{room} must not include {header}")
        elif not rooms.below(header, rooms.ROOMS[room] | {room}):
            found.append(where + f"{room} must not include {header}")
    return found


def allowed_header(header, allowed):
    return allowed is None or header in allowed or any(
        header.startswith(a) for a in allowed if a.endswith("/"))


def system_headers(tree):
    found = []
    for name, line, is_system, header in includes(tree):
        room = rooms.best(rooms.HEADERS, name)
        if is_system and room and not allowed_header(header, rooms.HEADERS[room]):
            found.append(f"{name}:{line}: {room} must not include <{header}>")
        for part, who in rooms.CONFINED.items():
            hit = header.endswith(part) if part.endswith(".h") else header.startswith(part)
            if hit and "/" not in header.replace(part, "") and not rooms.below(name, who):
                found.append(f"{name}:{line}: only {', '.join(who)} may include {header}")
    return found


def file_sizes(tree):
    found = []
    for name in tree.files:
        if name.endswith((".c", ".h", ".def", ".py", ".proto")) or name in tree.scripts:
            lines = tree.text(name).count("\n")
            if lines >= FILE_LINES:
                found.append(f"{name}: {lines} lines")
    return found


def functions(text):
    """(first line, lines) of each function body at column 0, either style of brace."""
    start = None
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if start is None and (line == "{" or re.match(r"[^\s#}].*\)\s*\{$", line)):
            start = i
            while start > 0 and re.match(r"[\w\s,*(]", lines[start - 1] or ";"):
                start -= 1
        elif start is not None and line.startswith("}"):
            yield start + 1, i - start + 1
            start = None


def function_sizes(tree):
    found = []
    for name in tree.ending(".c", ".h"):
        for line, count in functions(tree.without_comments(name)):
            if count >= FUNCTION_LINES:
                found.append(f"{name}:{line}: a function of {count} lines")
    return found


# In text the word alone, in names a part between underscores; capitals are ZooKeeper's own names
# (NODEEXISTS, NodeCreated), and so are its options in back quotes.
HALF_NAME = re.compile(r"(?<![A-Za-z0-9])nodes?(?![A-Za-z0-9])")


def znode_words(tree):
    found = []
    for name in tree.files:
        if name.endswith((".c", ".h", ".def", ".proto")):
            text = tree.without_strings(name)
        elif name.endswith(".md"):
            text = re.sub(r"`[^`\n]*`|\"[^\"\n]*\"", "", tree.text(name))
        elif name.endswith(".py") or name in tree.scripts:
            text = re.sub(r"\"[^\"\n]*\"|'[^'\n]*'", "", tree.text(name))
        else:
            continue
        if name.startswith("tests/tidy/"):
            continue  # the rule has to name what it forbids
        for number, line in enumerate(text.split("\n"), 1):
            if HALF_NAME.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


def promises(tree):
    words = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
    found = []
    for name in tree.files:
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            # mktemp's pattern has more than three of them, and is one word.
            if words.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    return found


ALLOCATION = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf)\(")


def allocations(tree):
    """In the programs; tests may allocate as they like. free() is no finding: what a library gave goes
    back to it that way."""
    found = []
    for name in tree.ending(".c", ".h"):
        if name.startswith("tests/") or name == "common/mem.c":
            continue
        for number, line in enumerate(tree.without_comments(name).split("\n"), 1):
            m = ALLOCATION.search(line)
            if m:
                found.append(f"{name}:{number}: {m[1]}() instead of common/mem")
    return found
