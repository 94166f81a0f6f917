"""The style sheet of the page; colours are in `dnas.report.colours`."""

from __future__ import annotations

STYLE = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:44px 28px 72px}
header{margin-bottom:26px}
.eyebrow{margin:0;font-size:13px;font-weight:600;color:var(--muted)}
h1{margin:2px 0 4px;font-size:38px;line-height:1.1;letter-spacing:-.02em;font-weight:650;overflow-wrap:anywhere}
.lede{margin:0;color:var(--muted)}
h2{margin:0;font-size:21px;letter-spacing:-.01em;font-weight:650}
section{margin-top:44px}
.about{margin:4px 0 16px;max-width:72ch;color:var(--muted)}
h3{margin:0 0 10px;font-size:15px;font-weight:650}
.grid{display:grid;gap:18px}
.grid>*{min-width:0}
.thirds{grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr))}
figure{margin:0;padding:18px 18px 14px;background:var(--paper);border-radius:10px}
figure svg{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
.whole figure svg{max-width:none!important}
figcaption{margin-top:10px;font-size:13px;line-height:1.45;color:var(--muted)}
.narrow{display:none!important}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:18px;margin-top:0}
.tile{padding:16px 18px;background:var(--paper);border-radius:10px}
.tile p{margin:0}
.name{font-size:13px;color:var(--muted)}
.value{font-size:24px;font-weight:650;letter-spacing:-.02em;line-height:1.25}
.more{font-size:13px;color:var(--muted)}
.meter{height:6px;margin:5px 0 6px;border-radius:3px;background:var(--grid);overflow:hidden}
.meter span{display:block;height:100%;background:var(--good)}
.meter.over span{background:var(--warn)}
.answer{margin-top:0;margin-bottom:18px;padding:16px 18px;background:var(--paper);border-radius:10px;
border-left:5px solid var(--line)}
.answer.good{border-color:var(--good)}
.answer.weak,.answer.chance{border-color:var(--warn)}
.answer p,.answer ul{margin:0}
.ask{font-size:13px;font-weight:600;color:var(--muted)}
.said{font-size:17px;font-weight:600;max-width:90ch}
.said+.ask{margin-top:12px}
.answer ul{padding-left:20px}
.answer li{margin-top:4px;overflow-wrap:anywhere}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;background:var(--band);
padding:2px 5px;border-radius:4px;user-select:all}
.value.chance,.value.weak,td.chance,td.weak{color:var(--warn)}
.compare{margin-top:0;padding:6px 18px 14px;background:var(--paper);border-radius:10px}
table{width:100%;border-collapse:collapse}
th,td{padding:9px 10px;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
thead th{font-size:13px;font-weight:600;color:var(--muted)}
tbody th{font-weight:600;white-space:normal;overflow-wrap:anywhere;min-width:150px}
.runs td:nth-of-type(1),.runs td:nth-of-type(4),.runs td:nth-of-type(7){white-space:normal}
.runs table{font-size:14px}
.runs tbody th{min-width:230px}
.facts{margin-top:12px}
.facts td,.facts th{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}
.facts tbody th{min-width:0}
.facts td.short{white-space:nowrap}
section>h3{margin-top:22px}
th:first-child{text-align:left;padding-left:0}
tbody tr:last-child>*{border-bottom:0}
i{display:inline-block;width:10px;height:10px;margin-right:8px;border-radius:50%}
.caption{margin:6px 0 0;font-size:13px;color:var(--muted)}
.warning{margin:14px 0 0;padding:10px 14px;background:var(--paper);border-radius:10px;color:var(--warn)}
.warning b{margin-right:6px}
.note{margin:18px 0 0;color:var(--muted);font-size:14px;max-width:72ch}
details{margin-top:12px;padding:0}
section>details:first-of-type{margin-top:14px}
summary{cursor:pointer;font-weight:600;padding:6px 0}
summary:focus-visible{outline:2px solid var(--s0);outline-offset:3px;border-radius:4px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:6px 0 12px;padding:16px 18px;
background:var(--paper);border-radius:10px;font-size:13.5px}
dt{color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
@media(max-width:700px){
main{padding:26px 14px 48px}
h1{font-size:29px}
section{margin-top:34px}
figure{padding:14px 12px 12px}
.wide{display:none!important}
.narrow{display:block!important}
.tiles{grid-template-columns:1fr 1fr;gap:12px}
.tile{padding:12px 14px}
.value{font-size:21px}
.grid{gap:12px}
dl{grid-template-columns:1fr;gap:0}
dd{margin-bottom:8px}
.compare{padding:4px 14px}
table,tbody,tr,th,td{display:block}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tbody tr{padding:12px 0;border-bottom:1px solid var(--grid)}
tbody tr:last-child{border-bottom:0}
tbody th{border:0;padding:0 0 4px}
td{display:flex;justify-content:space-between;gap:8px;padding:2px 0;border:0}
.compare td{text-align:right;white-space:normal}
.runs tbody th{min-width:0}
td::before{white-space:nowrap;content:attr(data-name);color:var(--muted);font-size:13px}
}
@media print{body{background:#fff}figure,.tile{break-inside:avoid}}
"""
