"""What does the page of a report look like: in light and dark, on a phone and on paper.

One accent, which is what went well; the colours of the other statuses differ in lightness too, so
that they are told apart without seeing colours.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f6f4; --surface: #ffffff; --ink: #16191d; --muted: #5b636d; --line: #e3e4e2;
  --track: #ecedeb; --accent: #0a62b8;
  --completed: #0a62b8; --no-answer: #efb13a; --busy: #d2552a; --failed: #7b1f52;
  --canceled: #9aa1a9; --other: #3f464d;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #111316; --surface: #191c20; --ink: #eceef0; --muted: #9ba3ac; --line: #2b3036;
    --track: #272b31; --accent: #62aef2;
    --completed: #62aef2; --no-answer: #ffd27a; --busy: #e8683c; --failed: #b8528a;
    --canceled: #767e87; --other: #d5d9dd;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; overflow-wrap: anywhere;
}
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
header p, .note, footer { color: var(--muted); }
.eyebrow {
  margin: 0; font-size: .8125rem; font-weight: 600; letter-spacing: .06em;
  text-transform: uppercase; color: var(--accent);
}
h1 { margin: .25rem 0; font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; }
header p { margin: 0; }
h2 { margin: 0; font-size: 1.125rem; line-height: 1.3; letter-spacing: -.01em; }
.note { margin: .25rem 0 0; font-size: .875rem; }
.headlines {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1px;
  margin: 2rem 0; padding: 0; background: var(--line); border: 1px solid var(--line);
  border-radius: 12px; overflow: hidden;
}
.headlines div { background: var(--surface); padding: 1rem 1.25rem; }
.headlines dt { font-size: .8125rem; color: var(--muted); }
.headlines dd { margin: 0; }
.headlines .figure {
  font-size: 1.75rem; font-weight: 650; line-height: 1.25; letter-spacing: -.02em;
}
.headlines .good { color: var(--accent); }
.headlines .aside { font-size: .8125rem; color: var(--muted); }
.pair {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 0 1.25rem;
}
.pair { align-items: start; }
.definition { margin: 0 0 1.25rem; padding: 0 1.25rem; }
figure {
  margin: 0 0 1.25rem; padding: 1.25rem; background: var(--surface);
  border: 1px solid var(--line); border-radius: 12px; min-width: 0;
}
figcaption { margin-bottom: 1.25rem; }
.legend {
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 1rem; padding: 0;
  list-style: none; font-size: .875rem;
}
.legend svg { width: .7rem; height: .7rem; margin-right: .45rem; }
.legend span { color: var(--muted); }
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); }
svg { display: block; width: 100%; overflow: visible; }
svg.labels { width: auto; }
.legend svg { display: inline-block; }
svg text { font-size: 12px; fill: var(--muted); }
svg .direct { fill: var(--ink); font-weight: 600; }
svg .count { fill: var(--ink); }
svg .halo {
  paint-order: stroke; stroke: var(--surface); stroke-width: 4px; stroke-linejoin: round;
}
.grid { stroke: var(--line); stroke-width: 1; shape-rendering: crispEdges; }
.base { stroke: var(--muted); stroke-width: 1; shape-rendering: crispEdges; }
.mark { stroke: var(--ink); stroke-width: 1.5; }
.mark-dashed { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 3 3; }
.seam { stroke: var(--surface); stroke-width: 1; }
.cell { stroke: var(--surface); stroke-width: 2; fill: var(--accent); }
.none { fill: var(--track); }
.track { fill: var(--track); }
.bar { fill: var(--accent); }
.s-completed { fill: var(--completed); } .s-no-answer { fill: var(--no-answer); }
.s-busy { fill: var(--busy); } .s-failed { fill: var(--failed); }
.s-canceled { fill: var(--canceled); } .s-other { fill: var(--other); }
.scale {
  display: flex; align-items: center; gap: .5rem; margin-top: .75rem; font-size: .8125rem;
  color: var(--muted);
}
.scale svg { width: 8rem; flex: none; }
.rates { margin: 0; padding: 0; list-style: none; }
.rates li { margin-top: .9rem; font-size: .9375rem; }
.rates li:first-child { margin-top: 0; }
.rates div { display: flex; justify-content: space-between; gap: 1rem; margin-bottom: .3rem; }
.rates span:last-child { flex: none; color: var(--muted); font-size: .875rem; }
.rates b { color: var(--ink); }
.rates + .note { margin-top: .9rem; }
details { margin-top: 1.25rem; font-size: .875rem; }
summary {
  cursor: pointer; color: var(--muted); width: max-content; max-width: 100%;
  border-radius: 4px;
}
summary:hover { color: var(--ink); }
summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px;
}
.scroll { overflow-x: auto; margin-top: .75rem; overflow-wrap: normal; }
table { border-collapse: collapse; min-width: 100%; }
th, td {
  padding: .3rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line);
}
th { font-weight: 600; color: var(--muted); }
th:first-child { text-align: left; padding-left: 0; }
tbody th { color: var(--ink); font-weight: 500; }
footer { font-size: .8125rem; }
@media (max-width: 30rem) {
  main { padding: 1.5rem .75rem 2rem; }
  h1 { font-size: 1.5rem; }
  figure { padding: 1rem; }
  .headlines { grid-template-columns: 1fr 1fr; margin: 1.25rem 0; }
  .headlines div { padding: .75rem 1rem; }
  .headlines .figure { font-size: 1.375rem; }
  svg text { font-size: 11px; }
}
@media print {
  body {
    background: none; font-size: 11pt; print-color-adjust: exact;
    -webkit-print-color-adjust: exact;
  }
  main { max-width: none; padding: 0; }
  figure, .headlines { break-inside: avoid; }
  details { display: none; }
}
"""
