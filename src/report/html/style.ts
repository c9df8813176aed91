/** The page's style. Contrast of text is at least 4.5 to 1 on both grounds (WCAG 2.2, 1.4.3). */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #fff; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de; --rail: #eef1f4;
  --good: #116329; --warn: #7d4e00; --bad: #a40e26; --blue: #0550ae; --violet: #6639ba;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0d1117; --text: #e6edf3; --quiet: #9da7b3; --line: #30363d; --rail: #1c2229;
    --good: #56d364; --warn: #e3b341; --bad: #ff7b72; --blue: #79c0ff; --violet: #d2a8ff;
  }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1rem; max-width: 75rem; background: var(--ground); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 2.25rem; line-height: 1.2; margin: 0 }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem }
.kicker, .id, th, td { overflow-wrap: anywhere }
.kicker { margin: 0; color: var(--quiet) }
.lead { font-size: 1.25rem; max-width: 50rem }
.mark { display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 50%; background: currentColor }
.verdict.complete, td.equal { color: var(--good) }
.verdict.incomplete, td.explained { color: var(--warn) }
.verdict.failed, td.missing, td.different, td.extra, .warning { color: var(--bad) }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; margin: 1.5rem 0 0 }
.facts div, .legend div { border-top: 1px solid var(--line); padding-top: .5rem }
dt { color: var(--quiet); font-size: .875rem }
dd { margin: 0 }
.facts dd { font-size: 1.5rem; font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .875rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line) }
th { font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums }
td.none { color: var(--quiet) }
.id { font-family: ui-monospace, monospace; font-size: .8125rem }
svg { max-width: 100%; height: auto }
svg text { fill: var(--text); font-size: 13px }
.bars { min-width: 8rem }
.rail { fill: var(--rail) }
.bar.before { fill: var(--quiet) } .bar.lost { fill: var(--bad) } .bar.now { fill: var(--good) }
.node { fill: var(--quiet) } .band { fill: var(--quiet); opacity: .35 }
.restored, .filled { fill: var(--good) } .derived, .unchanged { fill: var(--blue) }
.kept, .trigger-kept { fill: var(--violet) } .withdrawn { fill: var(--warn) }
.blocked, .conflict, .failed { fill: var(--bad) }
.legend { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .75rem }
.legend dt { color: var(--text) } .legend dd { color: var(--quiet) }
form { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; margin: .5rem 0 }
input, select, button { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--quiet); border-radius: .25rem; padding: .25rem .5rem }
button:disabled { opacity: .5 }
input[type=search] { min-width: 18rem }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px }
footer { margin-top: 3rem; color: var(--quiet); font-size: .875rem }
@media print {
  :root { --ground: #fff; --text: #000; --quiet: #444; --line: #999; --rail: #eee; --good: #116329; --warn: #7d4e00; --bad: #a40e26; --blue: #0550ae; --violet: #6639ba }
  body { max-width: none; padding: 0; font-size: 10pt }
  form, .pages { display: none }
  tr, svg, .facts div { break-inside: avoid }
  .scroll { overflow: visible }
  rect, path { print-color-adjust: exact }
}
`
