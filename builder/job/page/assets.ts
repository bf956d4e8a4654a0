/** What the page loads beside its HTML. */

/** Keeps the list up to date: the server sends the changed parts as HTML, and they are put in their places. */
export const SCRIPT = `"use strict";
const live = document.body.dataset.live;
if (live && "EventSource" in window) {
  const source = new EventSource(live);
  source.addEventListener("parts", (event) => {
    // A button that has the focus would lose it.
    const focused = document.activeElement;
    const held = focused && focused.closest ? focused.closest("tr, #job") : null;
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const place = document.getElementById(id);
      if (place && !(held && place.contains(held) && focused.tagName === "BUTTON")) place.innerHTML = html;
    }
  });
  source.addEventListener("error", () => document.body.classList.add("stale"));
  source.addEventListener("open", () => document.body.classList.remove("stale"));
}
`;

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect x="1" y="2" width="14" height="3" rx="1" fill="#0b6e6e"/><rect x="1" y="6.5" width="14" height="3" rx="1" fill="#0f8f8f"/><rect x="1" y="11" width="14" height="3" rx="1" fill="#3fb8a8"/></svg>
`;

export const STYLE = `:root {
  color-scheme: light dark;
  --ground: light-dark(#f6f7f8, #14181b); --card: light-dark(#ffffff, #1c2226); --line: light-dark(#dfe3e6, #2f383e);
  --ink: light-dark(#1c2429, #e4e9ec); --faint: light-dark(#5d6a72, #98a5ad); --accent: light-dark(#0b6e6e, #3fb8a8);
  --bad: light-dark(#b3261e, #ff8a80); --good: light-dark(#1b7a3d, #6fd08c); --wait: light-dark(#8a5a00, #e0b050);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; }
header { display: flex; align-items: baseline; gap: .8rem; padding: .9rem 1.5rem; background: var(--card);
  border-bottom: 1px solid var(--line); color: var(--faint); }
header h1 { font-size: 1.2rem; margin: 0; } header h1 a { color: var(--accent); text-decoration: none; }
header .api { margin-left: auto; }
main { max-width: 76rem; margin: 0 auto; padding: 1.2rem 1.5rem 3rem; }
a { color: var(--accent); }
small { display: block; color: var(--faint); font-size: .82rem; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; }
.start { display: flex; gap: .6rem; align-items: center; margin: .4rem 0 1.2rem; flex-wrap: wrap; }
.start label { font-weight: 600; }
.start input { flex: 1; min-width: 16rem; padding: .45rem .6rem; font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; }
button { font: inherit; font-size: .88rem; padding: .28rem .7rem; color: var(--ink); background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; cursor: pointer; white-space: nowrap; }
button:hover { border-color: var(--accent); color: var(--accent); }
button.primary { font-size: 1rem; padding: .45rem 1.1rem; color: #fff; background: #0b6e6e; border-color: #0b6e6e; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.error { padding: .5rem .8rem; border-left: 4px solid var(--bad); background: var(--card); color: var(--bad); }
nav { display: flex; gap: .3rem; flex-wrap: wrap; margin-bottom: .8rem; }
nav a { padding: .25rem .7rem; border-radius: 6px; text-decoration: none; color: var(--faint); }
nav a[aria-current] { background: var(--card); color: var(--ink); box-shadow: inset 0 0 0 1px var(--line); }
nav b { font-weight: 600; font-size: .85em; }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
th { text-align: left; font-weight: 600; font-size: .82rem; color: var(--faint); padding: .55rem .8rem; }
td { padding: .6rem .8rem; border-top: 1px solid var(--line); vertical-align: top; }
td.image { min-width: 15rem; overflow-wrap: anywhere; } td.image a { font-weight: 600; text-decoration: none; }
td.size, td.time { white-space: nowrap; font-variant-numeric: tabular-nums; } td.size small { display: inline; }
td.progress { min-width: 9rem; } td.actions { text-align: right; }
.empty td { text-align: center; color: var(--faint); padding: 2.5rem; }
progress { width: 100%; height: .5rem; accent-color: var(--accent); }
.reason { color: var(--bad); overflow-wrap: anywhere; }
.badge { display: inline-block; padding: .1rem .55rem; border-radius: 99px; font-size: .82rem; white-space: nowrap;
  color: var(--faint); box-shadow: inset 0 0 0 1px currentColor; }
.badge.done { color: var(--good); } .badge.failed { color: var(--bad); } .badge.running { color: var(--accent); }
.badge.queued, .badge.looking { color: var(--wait); }
h2 { font-size: 1.15rem; display: flex; gap: .6rem; align-items: center; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .45rem 1.4rem; padding: 1rem 1.2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; } dd progress { max-width: 20rem; } dd small { display: inline; }
.stale header span::after { content: " · not connected, trying again"; color: var(--bad); }
@media (max-width: 52rem) { thead { display: none; } tr { display: block; border-top: 1px solid var(--line); padding: .4rem 0; }
  td { display: block; border: 0; padding: .15rem .8rem; } td.actions { text-align: left; } td:empty { display: none; } }
`;
