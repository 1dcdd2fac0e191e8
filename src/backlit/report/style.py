"""The style sheet of the report: one page, light or dark as the reader's system is, and calm on paper."""

LIGHT = """
  --page: #fbfbfa; --card: #ffffff; --ink: #1c1f24; --soft: #5d6470; --line: #e3e5e8; --grid: #eceef0; --empty: #f4f5f6;
  --c0: #2563eb; --c1: #d95d0e; --c2: #059669; --c3: #be185d; --c4: #7c3aed; --c5: #a16207; --c6: #0891b2; --c7: #57606f;
  --good: #047857; --bad: #b42318; --warn: #fff6e5; --warn-line: #e7a93a; --right: #2563eb; --wrong: #d92d20;
"""

DARK = """
  --page: #15171b; --card: #1d2026; --ink: #e8eaed; --soft: #9aa3b0; --line: #30353d; --grid: #2a2f36; --empty: #22262c;
  --c0: #6ea8fe; --c1: #ff9d57; --c2: #34d399; --c3: #f472b6; --c4: #b197fc; --c5: #e0b040; --c6: #38c6e0; --c7: #a8b0bd;
  --good: #34d399; --bad: #ff8a80; --warn: #2c2617; --warn-line: #b5822a; --right: #4f8ff7; --wrong: #f0655b;
"""

STYLE = f"""
:root {{ color-scheme: light dark; {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
@media print {{ :root {{ {LIGHT} }} }}
""" + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 32px 24px 64px; }
header h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
header p, .note, .empty { color: var(--soft); margin: 0; max-width: 75ch; }
h2 { font-size: 19px; margin: 0 0 4px; letter-spacing: -0.005em; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px 22px; grid-column: 1 / -1; min-width: 0; }
.sections { display: grid; grid-template-columns: 1fr 1fr; gap: 18px; margin-top: 20px; grid-auto-flow: dense; align-items: start; }
section.half { grid-column: auto; height: 100%; }
@media (max-width: 900px) { section.half { grid-column: 1 / -1; } }
section > .note { margin-bottom: 12px; }
nav { margin-top: 14px; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px; }
nav a { color: var(--c0); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 16px; }
.card b { display: block; font-size: 23px; line-height: 1.25; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; }
.card span { color: var(--soft); font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px 28px; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 2px; }
svg { display: block; width: 100%; height: auto; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 2px 0 4px; padding: 0; font-size: 12.5px; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 5px; overflow-wrap: anywhere; }
.legend svg { width: auto; flex: none; }
svg text { font: 11.5px system-ui, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .label { font-size: 12px; }
svg .count { fill: var(--ink); font-size: 12px; }
svg .count.strong { fill: #fff; font-weight: 600; }
.grid { stroke: var(--grid); fill: none; } .axis { stroke: var(--soft); fill: none; stroke-width: 1; }
.line { fill: none; stroke: var(--c); stroke-width: 1.9; stroke-linejoin: round; stroke-linecap: round; }
.dashed .line { stroke-dasharray: 5 4; }
.chart g circle { fill: var(--c); opacity: 0; } .chart g circle:hover, .chart g.alone circle { opacity: 1; }
.point { fill: var(--c); stroke: var(--card); stroke-width: 0.8; } .point.test { stroke: var(--ink); stroke-width: 1.5; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.cell { fill: var(--empty); } rect.right { fill: var(--right); } rect.wrong { fill: var(--wrong); }
.advice { list-style: none; margin: 12px 0 0; padding: 0; display: grid; gap: 10px; }
.advice li { background: var(--warn); border-left: 4px solid var(--warn-line); border-radius: 6px; padding: 10px 14px; }
.advice b { display: block; } .advice .try { color: var(--ink); } .advice .evidence { color: var(--soft); display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 14px; }
.mistake { text-align: center; } .mistake figcaption { font-weight: 400; font-size: 13px; margin-top: 4px; color: var(--soft); }
.mistake figcaption b { color: var(--ink); } .mistake figcaption b.bad { color: var(--bad); }
.mistake img { width: 96px; height: 96px; image-rendering: pixelated; border-radius: 6px; border: 1px solid var(--line); background: #000; }
.regions { image-rendering: pixelated; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); } th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
td.bad, .bad { color: var(--bad); } td.good, .good { color: var(--good); }
code { font: 12.5px ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; }
@media print {
  body { background: #fff; font-size: 11pt; } main { max-width: none; padding: 0; } nav { display: none; }
  section, .card { border-color: #ccc; break-inside: avoid; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
