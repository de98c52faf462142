/*<![CDATA[*/
// Shows a chart's values where the reader points, touches, or moves with the arrow keys.
// The values are those of the page's tables. Without this script, the tables remain.
"use strict";
for (const figure of document.querySelectorAll("figure[data-series]")) {
  const steps = figure.hasAttribute("data-steps");
  const plot = figure.querySelector(".plots");
  if (!plot.querySelector("svg[data-plot]")) continue; // nothing to point at
  let series; // with the rows of the tables
  let at = null; // where the values shown are, in the chart's unit

  const make = (name, parent) => {
    const element = document.createElement("div");
    element.className = name;
    element.hidden = true;
    parent.append(element);
    return element;
  };
  const line = make("cross", plot), tip = make("tip", plot);
  tip.setAttribute("role", "status");
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", figure.querySelector("figcaption").firstChild.data.trim() + ", values: arrow keys");

  const load = () => {
    series ??= JSON.parse(figure.dataset.series).map(s => ({...s, rows: [...document.querySelectorAll("#" + CSS.escape(s.table) + " tbody tr")].map(
      tr => ({x: +tr.dataset.x - s.offset, head: tr.cells[0].firstChild.data, text: tr.cells[s.column].firstChild.data}))}));
    return series;
  };

  // area returns where the data of the visible chart is, in pixels, and its range.
  const area = () => {
    for (const svg of plot.querySelectorAll("svg[data-plot]")) {
      const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
      if (box.width > 0) {
        const [left, right, top, bottom, min, max] = svg.dataset.plot.split(" ").map(Number);
        return {left: left * scale, right: right * scale, top: top * scale, bottom: bottom * scale, min, max};
      }
    }
    return null;
  };

  // index returns the row to show at x: the one that holds there, or the nearest one.
  const index = (rows, x) => {
    let low = 0, high = rows.length;
    while (low < high) {
      const middle = low + high >> 1;
      if (rows[middle].x <= x) low = middle + 1; else high = middle;
    }
    let i = Math.max(low - 1, 0);
    if (steps) {
      const n = rows.length, width = i + 1 < n ? rows[i + 1].x - rows[i].x : n > 1 ? rows[n - 1].x - rows[n - 2].x : Infinity;
      return rows[i].x <= x && x < rows[i].x + width ? i : -1;
    }
    if (low < rows.length && rows[low].x - x < x - rows[i].x) i = low;
    return i;
  };

  const hide = () => { at = null; line.hidden = tip.hidden = true; };

  const show = x => {
    const a = area();
    if (!a) return hide();
    const found = load().filter(s => s.rows.length > 0).map(s => ({...s, row: s.rows[index(s.rows, x)]})).filter(s => s.row);
    if (found.length === 0) return hide();
    at = x;
    const same = found.every(s => s.row.head === found[0].row.head);
    const shared = same || steps; // one heading for all
    tip.replaceChildren();
    if (shared) {
      const head = document.createElement("b");
      head.textContent = same ? found[0].row.head : x.toFixed(1) + "\u00a0s";
      tip.append(head);
      if (!steps) x = found[0].row.x;
    }
    for (const s of found) {
      const entry = document.createElement("span"), mark = document.createElement("i");
      mark.className = s.swatch ? "swatch chart-" + s.swatch : "swatch chart-muted";
      entry.append(mark, (s.name ? s.name + " " : "") + (shared ? "" : "at " + s.row.head + ": ") + s.row.text);
      tip.append(entry);
    }
    line.hidden = tip.hidden = false;
    const left = a.left + (a.right - a.left) * (x - a.min) / (a.max - a.min);
    line.style.left = left + "px";
    line.style.top = a.top + "px";
    line.style.height = a.bottom - a.top + "px";
    // Below the axis if it would hide most of the chart.
    tip.style.top = (tip.offsetHeight > 0.7 * (a.bottom - a.top) ? a.bottom + 6 : a.top) + "px";
    tip.style.left = Math.max(0, Math.min(left + 8, left > (a.left + a.right) / 2 ? left - 8 - tip.offsetWidth : plot.clientWidth - tip.offsetWidth)) + "px";
  };

  const point = event => {
    const a = area();
    if (!a) return;
    const x = event.clientX - plot.getBoundingClientRect().left;
    if (x < a.left - 10 || x > a.right + 10) return hide();
    show(Math.min(Math.max(a.min + (a.max - a.min) * (x - a.left) / (a.right - a.left), a.min), a.max - (steps ? 1e-9 * (a.max - a.min) : 0)));
  };
  plot.addEventListener("pointerdown", point);
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") hide(); });
  plot.addEventListener("blur", hide);

  // key moves to a row of the first series.
  plot.addEventListener("keydown", event => {
    if (event.key === "Escape") return hide();
    const moves = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity};
    const a = area(), rows = load().find(s => s.rows.length > 0)?.rows.filter(r => a && r.x >= a.min - 1e-9 && r.x <= a.max + 1e-9);
    if (!(event.key in moves) || !rows?.length || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const now = at === null ? (moves[event.key] > 0 ? -1 : rows.length) : rows.findLastIndex(r => r.x <= at + 1e-9);
    const i = Math.min(Math.max(now + moves[event.key], 0), rows.length - 1);
    show(steps && i + 1 < rows.length ? (rows[i].x + rows[i + 1].x) / 2 : rows[i].x);
  });
}
/*]]>*/
