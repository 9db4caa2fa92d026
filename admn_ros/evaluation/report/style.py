# SPDX-License-Identifier: Apache-2.0
"""The style sheet of a report: light and dark, from a phone's width up, printable."""

from __future__ import annotations

from admn_ros.views.palette import variables

STYLE = f"""
:root {{ color-scheme: light dark; {variables(dark=False)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {variables(dark=True)} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; -webkit-text-size-adjust: 100%; }}
header, main, footer {{ max-width: 1120px; margin: 0 auto; padding: 0 20px; }}
header {{ padding-top: 44px; }}
.over {{ color: var(--soft); font-size: 13px; letter-spacing: .06em; text-transform: uppercase; margin: 0; }}
h1 {{ font-size: 34px; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 4px 0 14px; }}
h2 {{ font-size: 21px; font-weight: 650; letter-spacing: -.01em; margin: 0 0 4px; }}
h3 {{ font-size: 14px; font-weight: 600; margin: 0 0 6px; }}
.lead {{ font-size: 18px; max-width: 46em; margin: 0 0 24px; overflow-wrap: anywhere; }}
.soft, .reading {{ color: var(--soft); }}
.reading {{ margin: 0 0 14px; max-width: 56em; }}
.warn {{ border-left: 4px solid var(--alert); padding: 8px 14px; background: var(--card); margin: 0 0 20px; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(215px, 1fr)); gap: 14px; margin: 0 0 14px; }}
.tile, section {{ background: var(--card); border-radius: 12px; }}
.tile {{ padding: 16px 18px; }}
.tile p {{ margin: 0; }}
.tile .big {{ font-size: 38px; line-height: 1.15; font-weight: 650; letter-spacing: -.02em; margin: 2px 0;
  font-variant-numeric: tabular-nums; }}
.tile .big small {{ font-size: 17px; font-weight: 500; letter-spacing: 0; color: var(--soft); }}
.tile .note {{ font-size: 13.5px; line-height: 1.4; color: var(--soft); overflow-wrap: anywhere; }}
.good {{ color: var(--good); }}
.alert {{ color: var(--alert); }}
section {{ padding: 24px 26px 26px; margin: 14px 0; }}
figure {{ margin: 0; }}
.panels {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); gap: 18px 22px; }}
.panels.small {{ grid-template-columns: repeat(auto-fit, minmax(min(205px, 45%), 1fr)); }}
.panels.wide {{ grid-template-columns: minmax(0, 1fr); }}
.panel {{ min-width: 0; }}
.wide .scroll {{ overflow-x: auto; }}
.wide svg {{ min-width: 640px; max-width: none !important; }}
svg {{ display: block; width: 100%; height: auto; }}
svg * {{ stroke-linejoin: round; }}
.keys {{ display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; margin: 12px 0 0; padding: 0; font-size: 14px;
  color: var(--soft); }}
.keys i {{ display: inline-block; width: 18px; margin-right: 7px; vertical-align: middle; }}
.keys .fill {{ height: 12px; border-radius: 3px; background: var(--key); width: 12px; }}
.keys .dot {{ height: 9px; width: 9px; border-radius: 50%; background: var(--key); }}
.keys .line {{ border-top: 2.5px solid var(--key); }}
.keys .dashed {{ border-top: 2.5px dashed var(--key); }}
.keys .dotted {{ border-top: 2.5px dotted var(--key); }}
.moments {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(380px, 100%), 1fr)); gap: 22px;
  list-style: none; margin: 18px 0 0; padding: 0; }}
.moments h3 b {{ display: inline-block; min-width: 21px; height: 21px; line-height: 21px; border-radius: 11px;
  text-align: center; background: var(--ink); color: var(--card); font-size: 12px; margin-right: 7px; }}
.moments p {{ margin: 0 0 8px; font-size: 13.5px; color: var(--soft); }}
.seen {{ display: grid; gap: 3px; font-size: 11.5px; color: var(--soft); max-width: 560px; }}
.seen span {{ align-self: center; overflow: hidden; text-overflow: ellipsis; }}
.seen img, .seen .gone {{ display: block; width: 100%; aspect-ratio: 3/2; object-fit: cover; border-radius: 4px; }}
.seen .gone {{ display: grid; place-items: center; border: 1px dashed var(--rule); font-size: 11px; }}
details {{ margin-top: 18px; }}
summary {{ cursor: pointer; font-weight: 600; font-size: 15px; padding: 4px 0; }}
summary:focus-visible, .scroll:focus-visible {{ outline: 2px solid var(--depth); outline-offset: 3px; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 5px 7px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }}
thead th {{ color: var(--soft); font-weight: 500; vertical-align: bottom; }}
th:first-child, td:first-child, .text {{ text-align: left; }}
tbody th {{ font-weight: 500; }}
tr.first td, tr.first th {{ border-top: 2px solid var(--rule); }}
tr.focus td, tr.focus th {{ font-weight: 650; }}
dl {{ display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 18px; margin: 0; font-size: 14px; }}
dt {{ color: var(--soft); }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
footer {{ padding-bottom: 48px; color: var(--soft); font-size: 13.5px; }}
@media (max-width: 560px) {{
  header {{ padding-top: 26px; }}
  header, main, footer {{ padding-left: 12px; padding-right: 12px; }}
  h1 {{ font-size: 27px; }}
  .lead {{ font-size: 16.5px; }}
  section {{ padding: 18px 14px; }}
  .tiles {{ grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }}
  .tile {{ padding: 12px 13px; }}
  .tile .big {{ font-size: 28px; }}
}}
@media print {{ section, .tile {{ break-inside: avoid; }} body {{ background: none; }} }}
"""
