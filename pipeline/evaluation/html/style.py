"""How the page looks: light, dark and on paper, from 320 px on."""

from __future__ import annotations

from pipeline.evaluation.html.element import Markup

STYLE = Markup("""
:root { color-scheme: light dark; --paper: #ffffff; --raised: #f4f6f8; --ink: #1a2027; --faint: #59636e;
  --line: #d3d9df; --first: #0072b2; --second: #c44e00; --truth: #56b4e9; --found: #ffb000; }
@media (prefers-color-scheme: dark) { :root { --paper: #13171c; --raised: #1c2229; --ink: #e7ebef; --faint: #9aa5b1;
  --line: #37414b; --first: #56b4e9; --second: #f0a050; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.4rem 0 0.2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 0.4rem; padding-top: 0.6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 0.3rem; }
p { margin: 0.4rem 0; max-width: 44rem; }
.faint, figcaption { color: var(--faint); font-size: 0.875rem; }
.lead { font-size: 1.05rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 8rem), 1fr)); gap: 0.6rem;
  margin: 1rem 0; }
dl div { background: var(--raised); border-radius: 6px; padding: 0.5rem 0.7rem; }
dt { color: var(--faint); font-size: 0.8rem; }
dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; line-height: 1.25; }
dd small { display: block; font-size: 0.78rem; color: var(--faint); }
.scroll { overflow-x: auto; margin: 0.6rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.28rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: normal; }
th { font-weight: 600; }
thead th { color: var(--faint); font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child, .text { text-align: left; }
td.text { min-width: 13rem; overflow-wrap: anywhere; }
tbody th:first-child { min-width: 7.6rem; max-width: 14rem; overflow-wrap: anywhere; }
.bar { min-width: 6rem; text-align: left; }
.bar span { display: block; height: 0.7rem; margin-top: 0.4rem; background: var(--first); border-radius: 2px; }
td.number { white-space: nowrap; }
.matrix thead th { min-width: 4.2rem; max-width: 7rem; overflow-wrap: anywhere; text-align: center; font-size: 0.8rem; }
.matrix td { text-align: center; min-width: 3rem; border: 1px solid var(--paper); }
.matrix td.right { background: color-mix(in srgb, var(--first) calc(var(--share) * 70%), var(--raised)); }
.matrix td.wrong { background: color-mix(in srgb, var(--second) calc(var(--share) * 70%), var(--raised)); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
.pair { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; align-items: flex-start; }
.pair > figure { flex: 1 1 17rem; }
.pair > .scroll { flex: 0 1 auto; max-width: 100%; }
figure { margin: 0.6rem 0; max-width: 22rem; break-inside: avoid; }
figure > svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: 0.2rem; }
svg text { fill: var(--faint); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--line); stroke-width: 1; fill: none; }
svg .curve { stroke: var(--first); stroke-width: 2; fill: none; stroke-linejoin: round; }
svg .area { fill: var(--first); opacity: 0.12; }
svg .column { fill: var(--first); opacity: 0.65; }
svg .whisker { stroke: var(--ink); stroke-width: 1.2; }
svg .ideal { stroke: var(--faint); stroke-width: 1; stroke-dasharray: 4 4; fill: none; }
svg .curve.second { stroke: var(--second); stroke-dasharray: 5 3; }
svg .dot { fill: var(--first); stroke: var(--paper); stroke-width: 1; }
svg .dot.second { fill: var(--second); }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.8rem, 1fr)); gap: 0.8rem;
  margin-top: 0.5rem; }
.sheet figure { margin: 0; }
.place { white-space: nowrap; }
.sheet svg { border-radius: 4px; background: #20262d; aspect-ratio: 1; }
.sheet image { image-rendering: pixelated; }
.sheet polygon { fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.halo { stroke: #0009; stroke-width: 4; }
.of-truth { stroke: var(--truth); stroke-width: 2; }
.of-found { stroke: var(--found); stroke-width: 2; stroke-dasharray: 6 2.5; }
.of-region { stroke: #c8ccd0; stroke-width: 1.5; stroke-dasharray: 1.5 3; }
.aside { stroke-width: 1; opacity: 0.75; }
.key::before { content: ""; display: inline-block; width: 1.4rem; margin-right: 0.35rem; vertical-align: middle;
  border-top: 3px solid var(--truth); }
.key.dotted::before { border-top: 3px dotted #8d969f; }
.key.dashed::before { border-top: 3px dashed var(--found); }
.key { margin-right: 1rem; }
ul { padding-left: 1.2rem; }
@media print { :root { color-scheme: light; --paper: #ffffff; --raised: #f4f6f8; --ink: #000000; --faint: #444444;
  --line: #bbbbbb; --first: #0072b2; --second: #c44e00; } body { max-width: none; padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2, h3 { break-after: avoid; }
  tr, .sheet figure, .pair { break-inside: avoid; } .scroll { overflow: visible; } .pair > figure { flex: 0 1 13rem; }
  dl { grid-template-columns: repeat(6, 1fr); } dd { font-size: 1.1rem; } h2 { margin-top: 1.4rem; } }
""")
