// A report: all that it shows is in the page itself.
"use strict";
(() => {
  const { element, Charts, Curves, heading, table, state, many } = moon;
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const curvesOf = (run) => {
    const curves = new Curves();
    curves.take(run.curves);
    return { id: run.detail.id, curves };
  };
  const all = data.runs.map(curvesOf);
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
})();
