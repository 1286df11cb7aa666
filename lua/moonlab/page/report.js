// A report: all that it shows is in the page itself.
"use strict";
(() => {
  const { element, Charts, Curves, heading, table, state, many } = moon;
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const curvesOf = (id, answer) => {
    const curves = new Curves();
    curves.take(answer);
    return { id, curves };
  };
  if (data.rows) {
    manyRuns();
    return;
  }
  const all = data.runs.map((run) => curvesOf(run.detail.id, run.curves));
  const one = all.length === 1;
  const pending = [];
  const chartsFor = (runs) => {
    if (!runs.some((r) => r.curves.list.size)) return null;
    const charts = new Charts();
    pending.push([charts, runs]); // drawn once they are on the page
    return charts.element;
  };
  const figures = (run) => (name) => run.figures[name] || "";
  page.textContent = "";
  if (one) {
    const run = data.runs[0];
    page.append(...moon.runHead(run.detail),
      ...moon.runSections(run.detail, figures(run), chartsFor(all)));
  } else {
    page.append(element("h1", {}, data.title),
      table(["run", "state", "started", "took"], data.runs.map((r) => {
        const facts = Object.fromEntries(r.detail.facts);
        return [element("a", { href: "#run-" + r.detail.id }, r.detail.id), state(r.detail.state), facts.started || "-", facts.took || "-"];
      })));
    page.append(heading("What differs"), many(data.difference.rows)
      ? table(["", ...data.difference.names], data.difference.rows)
      : element("p", { class: "soft" }, "the parameters are the same"));
    const charts = chartsFor(all);
    if (charts) page.append(heading("Curves"), charts);
    data.runs.forEach((run) => page.append(element("article", { id: "run-" + run.detail.id },
      ...moon.runHead(run.detail), ...moon.runSections(run.detail, figures(run), null))));
  }
  page.append(element("p", { class: "small soft" }, data.written));
  for (const [charts, runs] of pending) charts.update(runs);

  // More runs than can be told of at length: a table, and the curves of those that are ticked.
  function manyRuns() {
    const { counts, passes, RunTable } = moonRuns;
    const selected = new Set(), charts = new Charts(4);
    const at = new Map(data.rows.map((row, i) => [row.id, i]));
    const note = element("p", { class: "small soft" });
    const search = element("input", { type: "search", placeholder: "filter: text, state=done, lr>0.01", "aria-label": "filter", oninput: () => update() });
    const clear = element("button", { class: "plain", type: "button", onclick: () => { selected.clear(); update(); } }, "clear ticks");
    const runs = new RunTable(selected, () => update(), (id) => id);
    const update = () => {
      const words = search.value.trim().split(/\s+/).filter(Boolean);
      runs.update(data.rows.filter((row) => passes(row, words)));
      clear.disabled = selected.size === 0;
      const ids = selected.size ? [...selected].slice(0, 20) : runs.shown.slice(0, 8).map((row) => row.id);
      charts.update(ids.map((id) => curvesOf(id, data.curves[at.get(id)])));
      note.textContent = selected.size > 20 ? "the first 20 of " + selected.size + " ticked"
        : selected.size ? selected.size + " ticked" : "the first " + ids.length + " of the table; tick others";
    };
    page.textContent = "";
    page.append(element("h1", {}, data.title), element("p", { class: "soft" }, counts(data.rows)),
      heading("Curves"), note, charts.element, heading("Runs"),
      element("div", { class: "bar" }, search, clear), runs.element,
      element("p", { class: "small soft" }, data.written));
    update();
  }
})();
