# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How the page looks: light and dark, wide and narrow. Series have Okabe and Ito's colours and shapes of their own."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1c2129; --soft: #5a6472; --line: #dde1e7; --accent: #0b62a4;
  --s0: #0072b2; --s1: #c65500; --s2: #00795a; --s3: #a8518a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d1117; --card: #161b22; --text: #e6eaf0; --soft: #9aa5b3; --line: #2b323c; --accent: #6cb6f5;
    --s0: #56b4e9; --s1: #f0913a; --s2: #35c79b; --s3: #e39ac6;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 12px; letter-spacing: -0.005em; }
h3 { font-size: 1rem; margin: 22px 0 8px; }
p { margin: 0 0 14px; max-width: 76ch; }
a { color: var(--accent); }
.lede { font-size: 1.06rem; color: var(--soft); }
.note { color: var(--soft); font-size: 0.9rem; }
nav { margin: 18px 0 0; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.95rem; }
nav a { text-decoration: none; padding: 4px 0; }
nav a:hover { text-decoration: underline; }
section { margin-top: 44px; scroll-margin-top: 12px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 14px; margin: 0 0 18px; }
.tiles.wide { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.2; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 0.9rem; display: block; }
.charts { columns: 2 440px; column-gap: 16px; }
.charts figure { break-inside: avoid; margin: 0 0 16px; }
.panels, .after { margin-bottom: 18px; }
.after { margin-top: 10px; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 270px), 1fr)); gap: 12px; }
figure { margin: 0; }
figure.chart, figure.motion {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px;
}
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 8px; }
img {
  display: block; max-width: 100%; height: auto;
  border-radius: 8px; border: 1px solid var(--line); background: #10141a;
}
.panels img { width: 100%; }
.panels figure, .pair figure { display: flex; flex-direction: column-reverse; }
.panels figcaption { margin: 0 0 4px; }
.motion { max-width: 840px; }
svg {
  display: block; width: 100%; height: auto;
  font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
svg text { fill: var(--text); }
svg .tick { text-anchor: middle; fill: var(--soft); }
svg .row { text-anchor: end; }
svg .unit { text-anchor: middle; fill: var(--soft); }
svg .note { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .reference { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg .line { fill: none; stroke-width: 2; }
svg .interval { stroke-width: 2.5; stroke-linecap: round; opacity: 0.55; }
.s0 { fill: var(--s0); stroke: var(--s0); } .s1 { fill: var(--s1); stroke: var(--s1); }
.s2 { fill: var(--s2); stroke: var(--s2); } .s3 { fill: var(--s3); stroke: var(--s3); }
svg .mark { stroke: var(--card); stroke-width: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; font-size: 0.9rem; }
.legend span { display: inline-flex; align-items: center; gap: 6px; }
svg.key { width: 14px; height: 14px; flex: none; }
.swatch { width: 14px; height: 14px; border-radius: 3px; flex: none; border: 1px solid var(--line); }
.colours { display: flex; flex-wrap: wrap; gap: 14px 32px; align-items: center; margin: 0 0 18px; font-size: 0.9rem; }
.colours > div { display: flex; align-items: center; gap: 12px; }
.colours img { border-radius: 50%; background: none; border: 0; flex: none; }
.ramp { width: 150px; height: 14px; border-radius: 4px; margin: 0 4px; flex: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child { text-align: left; font-weight: 500; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
td small { display: block; color: var(--soft); font-size: 0.76rem; white-space: nowrap; }
.headline { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.headline table { table-layout: fixed; }
.headline thead th:first-child { width: 28%; }
.headline td:nth-child(2) { font-weight: 650; }
.headline td:nth-child(2) small { font-weight: 400; }
.headline tbody tr:last-child > * { border-bottom: 0; }
.headline tr.group th { font-weight: 650; padding-top: 18px; }
details { margin-top: 8px; font-size: 0.9rem; }
summary { cursor: pointer; color: var(--accent); width: fit-content; }
pre {
  background: var(--page); border: 1px solid var(--line); border-radius: 6px; padding: 8px 10px; margin: 8px 0 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8rem; line-height: 1.45;
}
pre { overflow-x: auto; }
pre span { white-space: nowrap; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 16px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px; }
.card h3 { margin: 10px 0 4px; overflow-wrap: anywhere; }
.card p { margin: 0; font-size: 0.9rem; color: var(--soft); }
.card img { width: 100%; }
.pair { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px; }
.pair figcaption { margin: 0 0 2px; font-size: 0.8rem; }
dl { margin: 0; font-size: 0.9rem; }
dl > div {
  display: grid; grid-template-columns: 150px 1fr; gap: 2px 16px; padding: 6px 0; border-bottom: 1px solid var(--line);
}
dl > div:last-child { border-bottom: 0; }
dt { color: var(--soft); grid-column: 1; }
dd { margin: 0; grid-column: 2; overflow-wrap: anywhere; }
footer { padding-top: 36px; padding-bottom: 48px; color: var(--soft); font-size: 0.9rem; }
@media (max-width: 640px) {
  body { font-size: 15px; }
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  header { padding-top: 24px; }
  h1 { font-size: 1.55rem; }
  section { margin-top: 34px; }
  th, td { padding: 6px 5px; }
  table { font-size: 0.84rem; }
  .headline thead th { font-size: 0.76rem; }
  td small { font-size: 0.72rem; white-space: normal; line-height: 1.3; }
  .tiles, .tiles.wide { grid-template-columns: 1fr 1fr; gap: 10px; }
  figure.chart, figure.motion { padding: 12px 10px; }
  dl > div { grid-template-columns: 1fr; }
  dd { grid-column: 1; }
  pre { font-size: 0.74rem; padding: 8px; }
  .tile { padding: 10px 12px; }
  .tile b { font-size: 1.45rem; }
}
@media print { nav, details { display: none; } section { break-inside: avoid-page; } }
"""
