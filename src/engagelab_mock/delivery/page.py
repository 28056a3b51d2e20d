"""The frame and the parts of the HTML reports: one file without scripts or other files, in a light and a dark theme."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from engagelab_mock.delivery.render import printable

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --paper: #fcfcfd; --card: #fff; --line: #dfe2e6;
  --fail: #b3261e; --warn: #8a5a00; --pass: #18794e; --code: #f3f4f6; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef0; --soft: #a0a6ae; --paper: #111315; --card: #191b1f;
  --line: #30343a; --fail: #ff9592; --warn: #ffca16; --pass: #3dd68c; --code: #22252a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } code, pre { font: .85rem/1.5 ui-monospace, monospace; }
pre { background: var(--code); padding: .75rem; border-radius: .4rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .4rem 0; }
code, pre, td, th { unicode-bidi: isolate; }
.summary { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.summary li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem;
  min-width: 7rem; } .summary b { display: block; font-size: 1.5rem; line-height: 1.2; }
.fail { color: var(--fail); } .pass { color: var(--pass); } .warn { color: var(--warn); }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .6rem 0; }
summary { padding: .7rem 1rem; cursor: pointer; } details > div { padding: 0 1rem 1rem; }
summary b { margin-right: .5rem; } .badge { font-size: .8rem; border: 1px solid currentColor; border-radius: 1rem;
  padding: .05rem .55rem; margin-right: .5rem; }
table { border-collapse: collapse; width: 100%; } td, th { border-top: 1px solid var(--line); padding: .35rem .5rem;
  vertical-align: top; text-align: left; } td:first-child { white-space: nowrap; }
dt { font-weight: 600; margin-top: .8rem; } dd { margin: 0; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  margin: .6rem 0; } .wide table { font: .85rem/1.5 ui-monospace, monospace; overflow-wrap: normal; }
.wide tr:first-child > * { border-top: 0; } .wide td { min-width: 3rem; max-width: 24rem; overflow-wrap: break-word;
  white-space: normal; }
tr.here td { font-weight: 700; }
.choices { display: flex; flex-wrap: wrap; align-items: center; gap: .2rem .35rem; margin: .4rem 0; }
.choices label { margin-right: .6rem; } .choices pre { display: none; order: 1; flex: 0 0 100%; margin: .2rem 0; }
.choices input { margin: 0; } .choices input:checked + label { font-weight: 600; }
.choices input:checked + label + pre { display: block; }
.line { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; list-style: none; padding: 0; margin: .6rem 0; }
.line li { position: relative; border: 1px solid currentColor; border-radius: .4rem; padding: .1rem .5rem;
  font: .85rem/1.5 ui-monospace, monospace; }
.line li + li::before { content: "\\2192"; position: absolute; right: calc(100% + .25rem); color: var(--soft); }
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return a complete HTML page with this title and these parts.

    >>> page("a <report>", ["<h1>…</h1>"])[:15]
    '<!doctype html>'
    """
    parts = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{parts}\n</body>\n</html>\n"
    )


def text(given: object) -> str:
    """Return a text for HTML: everything that has a meaning there, or controls the output, is escaped.

    >>> text("<b> \\x00")
    '&lt;b&gt; \\\\x00'
    """
    return escape(printable(str(given)))


def prose(given: str) -> str:
    """Return text for HTML, with the parts between backticks set as code.

    >>> prose("answer `200`")
    'answer <code>200</code>'
    """
    parts = text(given).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def tiles(counts: Iterable[tuple[str, object, str]]) -> list[str]:
    """Return a row of counts; each has a style (fail, pass, warn, soft), the number, and what is counted.

    >>> tiles([("pass", 3, "passed")])[1]
    '<li class="pass"><b>3</b> passed</li>'
    """
    shown = [f'<li class="{style}"><b>{text(number)}</b> {text(word)}</li>' for style, number, word in counts]
    return ['<ul class="summary">', *shown, "</ul>"]


def wide(content: str, label: str) -> str:
    """Return a part that scrolls alone if it is too wide, also by the keyboard; a screen reader says the label.

    >>> wide("<svg/>", "The states")
    '<div class="wide" role="region" aria-label="The states" tabindex="0"><svg/></div>'
    """
    return f'<div class="wide" role="region" aria-label="{text(label)}" tabindex="0">{content}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, marked: int = -1) -> str:
    """Return a table that scrolls if it is too wide; the row with the number `marked` is emphasised.

    >>> table(["a"], [["<1>"]]).splitlines()[2]
    '<tr><td>&lt;1&gt;</td></tr>'
    """
    lines = ["<tr>" + "".join(f'<th scope="col">{text(head)}</th>' for head in heads) + "</tr>"]
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{text(cell)}</td>" for cell in row)
        lines.append(f'<tr class="here">{cells}</tr>' if number == marked else f"<tr>{cells}</tr>")
    return wide("<table>\n" + "\n".join(lines) + "\n</table>", f"Table: {', '.join(filter(None, heads))}")


def block(lines: Iterable[str]) -> str:
    """Return lines of text that keep their line breaks, such as commands.

    >>> block(["a", "<b>"])
    '<pre>a\\n&lt;b&gt;</pre>'
    """
    return f"<pre>{text(chr(10).join(lines))}</pre>"


def choices(name: str, label: str, texts: Sequence[tuple[str, str]], chosen: int = 0) -> str:
    """Return texts of which the reader sees one at a time: the chosen one, then that of the title that is selected.

    >>> choices("a", "The fix", [("Go", "x < 1")]).splitlines()[1]
    '<input type="radio" name="a" id="a-0" checked><label for="a-0">Go</label><pre>x &lt; 1</pre>'

    `name` is different for each set of choices on a page.
    """
    parts = [f'<div class="choices" role="radiogroup" aria-label="{text(label)}">']
    for number, (title, shown) in enumerate(texts):
        id = f"{text(name)}-{number}"
        radio = f'<input type="radio" name="{text(name)}" id="{id}"{" checked" * (number == chosen)}>'
        parts.append(f'{radio}<label for="{id}">{text(title)}</label><pre>{text(shown)}</pre>')
    return "\n".join([*parts, "</div>"])


def utc(seconds: float) -> str:
    """Return a Unix time as a date and a time of the day.

    >>> utc(0)
    '1970-01-01 00:00:00 UTC'
    """
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
