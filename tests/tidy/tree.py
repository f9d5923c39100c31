"""The checkout as the checks see it: its files and their text."""
import functools
import re
import subprocess

# A comment, a string or a character; what is outside of them is code.
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text):
    """As many lines, and nothing on them."""
    return "\n" * text.count("\n")


class Tree:
    def __init__(self, src, build):
        self.src = src
        self.build = build

    @functools.cached_property
    def files(self):
        """What git has or would take, relative to the checkout; without git, all but build folders."""
        listing = subprocess.run(["git", "-C", self.src, "ls-files", "-co", "--exclude-standard"],
                                 capture_output=True, text=True)
        if listing.returncode == 0 and listing.stdout:
            names = set(listing.stdout.splitlines())
        else:
            names = {str(p.relative_to(self.src)) for p in self.src.rglob("*")
                     if not re.match(r"(\.git|build)", p.relative_to(self.src).parts[0])}
        return sorted(n for n in names if (self.src / n).is_file())

    def ending(self, *suffixes):
        return [f for f in self.files if f.endswith(suffixes)]

    @functools.cached_property
    def scripts(self):
        """Shell scripts, by suffix or first line."""
        return [f for f in self.files if f.endswith(".sh")
                or re.match(r"#! ?\S*(env )?(ba)?sh\b", self.text(f)[:40])]

    @functools.lru_cache(maxsize=None)
    def text(self, name):
        return (self.src / name).read_text(encoding="utf-8", errors="replace")

    def without_comments(self, name):
        """Source text of C, where strings stay and comments are blank lines."""
        return TOKEN.sub(lambda m: blank(m[0]) if m[0][0] == "/" else m[0], self.text(name))

    def without_strings(self, name):
        """Source text of C, where comments stay and strings are empty."""
        return TOKEN.sub(lambda m: m[0] if m[0][0] == "/" else '""' + blank(m[0]), self.text(name))
