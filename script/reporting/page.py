"""One HTML page that needs nothing else: no network, no script, light and dark, for screens of any width and for paper."""
import html
from dataclasses import dataclass, field

from reporting.drawing import inline_svg
from reporting.records import clean

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--faint:#57606a;--line:#d8dee4;--card:#f6f8fa;--mark:#1a6fb8}
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--ink:#e3e6e9;--faint:#9aa4ae;--line:#30363d;--card:#1d2126;--mark:#6cb2f0}}
@media print{:root{color-scheme:light;--ground:#fff;--ink:#000;--faint:#444;--line:#bbb;--card:#f4f4f4;--mark:#000}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:66rem;background:var(--ground);color:var(--ink);
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0 .25rem}
h2{font-size:1.35rem;line-height:1.25;margin:0 0 .25rem}
header nav{border-bottom:1px solid var(--line);padding-bottom:1.6rem;margin-bottom:1.8rem}
.part{font-size:1.02rem;margin:1.8rem 0 .5rem}
section+section{border-top:1px solid var(--line);margin-top:2.2rem;padding-top:1.8rem}
.faint{color:var(--faint)}
.claim{font-size:1.18rem;line-height:1.45;margin:.9rem 0;padding-left:.9rem;border-left:4px solid var(--mark);max-width:52rem}
ul{padding-left:1.2rem}
nav ul{list-style:none;padding:0;margin:1rem 0 0}
nav li{margin:.35rem 0}
a{color:var(--mark)}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:1.4rem;align-items:start}
.pictures.small{grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr))}
.wide{display:block}
figure{margin:0;break-inside:avoid}
figure svg{display:block;width:100%;height:auto;max-width:32rem;color:var(--ink)}
.wide figure svg{max-width:100%}
figcaption{color:var(--faint);font-size:.9rem}
.scroll{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--faint);padding-bottom:.3rem}
th,td{padding:.3rem .8rem .3rem 0;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600}
.prose td{white-space:normal;overflow-wrap:anywhere;vertical-align:top;min-width:6rem}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;white-space:pre-wrap;overflow-wrap:anywhere}
code{font:.9rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace}
summary{cursor:pointer;color:var(--faint)}
details{margin:.8rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.92rem}
dt{color:var(--faint)}dd{margin:0;overflow-wrap:anywhere}
@media(max-width:30rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
@media print{body{max-width:none;padding:0;font-size:10pt}section{break-before:auto}nav{display:none}.scroll{overflow:visible}
th,td{white-space:normal}details::details-content{content-visibility:visible;block-size:auto}}
"""


@dataclass
class Table:
    caption: str
    headings: list
    rows: list
    is_folded: bool = False  # shown on demand
    is_prose: bool = False   # cells are texts, which wrap


@dataclass
class Section:
    title: str
    of: str = ""  # the model
    claims: list = field(default_factory=list)
    pictures: list = field(default_factory=list)  # (heading, pictures)
    tables: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    command: str = ""
    settings: dict = field(default_factory=dict)  # words by words
    is_wide: bool = False  # pictures take the page's width


def _e(words):
    return html.escape(clean(words))


def _table(table):
    head = "".join(f'<th scope="col">{_e(heading)}</th>' for heading in table.headings)
    kind = ' class="prose"' if table.is_prose else ""
    body = "\n".join("<tr>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    text = (f'<div class="scroll" role="region" tabindex="0" aria-label="{_e(table.caption)}"><table{kind}><caption>{_e(table.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>")
    return f"<details><summary>{_e(table.caption)}</summary>{text}</details>" if table.is_folded else text


def _figure(picture):
    caption = f"<figcaption>{_e(picture.caption)}</figcaption>" if picture.caption else ""
    return f"<figure>{inline_svg(picture)}{caption}</figure>"


def _section(number, section, level):
    """Under a heading of this level; level 1 is the page's own, which is there."""
    part = f"h{level + 1}"
    parts = [f'<section aria-labelledby="section-{number}">']
    if level > 1:
        parts.append(f'<h{level} id="section-{number}">{_e(section.title)}</h{level}>')
        parts.append(f'<p class="faint">{_e(section.of)}</p>' if section.of else "")
    for i, claim in enumerate(section.claims):
        parts.append(f'<p class="claim">{_e(claim)}</p>' if i == 0 else f"<p>{_e(claim)}</p>")
    for heading, pictures in section.pictures:
        parts.append(f'<{part} class="part">{_e(heading)}</{part}>' if heading else "")
        figures = "\n".join(map(_figure, pictures))
        kind = "wide" if section.is_wide else "pictures" + (" small" if len(pictures) > 2 else "")
        parts.append(f'<div class="{kind}">\n{figures}\n</div>')
    if section.tables:
        parts.append(f'<{part} class="part">Numbers</{part}>')
    parts += map(_table, section.tables)
    if section.notes:
        parts.append("<ul>" + "".join(f"<li>{_e(note)}</li>" for note in section.notes) + "</ul>")
    if section.command:
        parts.append(f'<{part} class="part">Command</{part}>\n<pre><code>{_e(section.command)}</code></pre>')
    if section.settings:
        pairs = "".join(f"<dt>{_e(name)}</dt><dd>{_e(value)}</dd>" for name, value in section.settings.items())
        parts.append(f"<details><summary>All settings</summary><dl>{pairs}</dl></details>")
    return "\n".join(filter(None, parts + ["</section>"]))


def _of(section):
    return f' <span class="faint">{_e(section.of)}</span>' if section.of else ""


def _claim(section):
    return f"<br />{_e(section.claims[0])}" if section.claims else ""


def page(title, sections):
    """HTML that is well-formed XML as well."""
    links = ""
    if len(sections) > 1:
        items = "\n".join(f'<li><a href="#section-{i}">{_e(s.title)}</a>{_of(s)}{_claim(s)}</li>' for i, s in enumerate(sections, 1))
        links = f'<nav aria-label="Contents"><ul>\n{items}\n</ul></nav>\n'
    is_one = len(sections) == 1
    heading = f"<h1 id=\"section-1\">{_e(title)}</h1>" if is_one else f"<h1>{_e(title)}</h1>"
    body = "\n".join(_section(i, section, 1 if is_one else 2) for i, section in enumerate(sections, 1))
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1" />\n<title>{_e(title)}</title>\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n<header>{heading}\n{links}</header>\n<main>\n{body}\n</main>\n"
            "</body>\n</html>\n")
