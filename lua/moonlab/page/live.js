// The live page: asks the server every two seconds for what is new.
"use strict";
(() => {
  const { element, state, Charts, Chart, Curves, heading, table, many, list: listOf } = moon;
  const { counts, passes, columnsOf, RunTable } = moonRuns;
  const page = document.getElementById("page"), status = document.getElementById("status");
  const rows = new Map();          // id -> row
  const selected = new Set();
  const followed = new Map();      // id -> Curves
  let sweeps = [], since = "", store = "", view = null, silent = 0;

  async function ask(path, query) {
    const words = Object.entries(query || {}).map(([k, v]) => k + "=" + encodeURIComponent(v)).join("&");
    const answer = await fetch(path + (words ? "?" + words : ""), { cache: "no-store" });
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error("status " + answer.status);
    return answer.json();
  }

  async function follow(id) {
    if (!followed.has(id)) followed.set(id, new Curves());
    const curves = followed.get(id);
    for (let k = 0; k < 200; k++) {
      const answer = await ask("/api/curves", { id, generation: curves.generation, line: curves.line });
      if (!answer) return null;
      curves.take(answer);
      if (answer.read >= answer.size || answer.stalled) break;
      if (view && view.reading) view.reading(id, answer);
    }
    return { id, curves };
  }

  // ---- the list of runs ------------------------------------------------------------------------
  async function refresh() {
    const answer = await ask("/api/runs", { since });
    if (answer.full) rows.clear();
    for (const row of answer.rows) rows.set(row.id, row);
    for (const id of answer.gone) { rows.delete(id); selected.delete(id); followed.delete(id); }
    if (answer.sweeps) sweeps = answer.sweeps.map((s) => ({ ...s, ids: listOf(s.ids), set: new Set(listOf(s.ids)) }));
    since = answer.version;
    store = answer.store;
    return answer.full || answer.rows.length > 0 || answer.gone.length > 0 || answer.sweeps;
  }

  // Curves of up to eight runs: those that are ticked, else the first of the table.
  async function drawOverview(v) {
    const ids = selected.size ? [...selected].slice(0, 20) : v.table.shown.slice(0, 8).map((r) => r.id);
    const got = (await Promise.all(ids.map(follow))).filter(Boolean);
    if (view !== v) return;
    v.charts.update(got);
    v.note.textContent = selected.size ? selected.size + " ticked" : "the first " + got.length + " of the table; tick others";
  }

  function listView(filterOf) {
    const v = { };
    const search = element("input", { type: "search", placeholder: "filter: text, state=running, lr>0.01", "aria-label": "filter", oninput: () => { v.update(); v.draw(); } });
    const compare = element("button", { class: "plain", type: "button", onclick: () => { location.hash = "#compare=" + [...selected].join(","); } }, "compare");
    const clear = element("button", { class: "plain", type: "button", onclick: () => { selected.clear(); v.update(); v.draw(); } }, "clear ticks");
    v.charts = new Charts(2);
    v.note = element("p", { class: "small soft" });
    v.table = new RunTable(selected, () => { v.update(); v.draw(); }, (id) => element("a", { href: "#run=" + id }, id));
    v.above = element("div");
    v.extra = element("div");
    page.replaceChildren(v.above, element("h2", {}, "Curves"), v.note, v.charts.element, v.extra,
      heading("Runs"), element("div", { class: "bar" }, search, compare, clear), v.table.element);
    v.update = () => {
      const words = search.value.trim().split(/\s+/).filter(Boolean);
      const list = filterOf().filter((row) => passes(row, words));
      compare.disabled = selected.size < 2;
      compare.textContent = selected.size ? "compare " + selected.size : "compare";
      clear.disabled = selected.size === 0;
      v.list = list;
      v.table.update(list);
    };
    v.draw = () => drawOverview(v).catch(failed);
    v.close = () => v.charts.close();
    return v;
  }

  function homeView() {
    const v = listView(() => [...rows.values()]);
    const update = v.update;
    v.update = () => {
      update();
      const all = [...rows.values()];
      v.above.replaceChildren(element("h1", {}, all.length === 1 ? "1 run" : all.length + " runs"),
        element("p", { class: "soft" }, counts(all) || "nothing ran in this store yet: ./moonlab run quickstart"),
        many(sweeps) ? element("div", {}, heading("Sweeps"), table(["sweep", "points", ""], sweeps.slice(0, 50).map((s) => {
          const list = s.ids.map((id) => rows.get(id)).filter(Boolean);
          return [element("a", { href: "#sweep=" + s.id }, s.id), String(s.ids.length), counts(list)];
        }))) : "");
    };
    return v;
  }

  // A sweep: its points, and what came out over the parameters that differ.
  function sweepView(id) {
    const sweep = () => sweeps.find((s) => s.id === id);
    const v = listView(() => { const s = sweep(); return s ? [...rows.values()].filter((r) => s.set.has(r.id)) : []; });
    const update = v.update, charts = new Map(), close = v.close;
    const grid = element("div", { class: "charts" });
    v.extra.append(heading("What came out"), grid);
    v.update = () => {
      update();
      const s = sweep();
      v.above.replaceChildren(element("h1", {}, id), s ? element("p", { class: "soft" }, counts(v.list) + " of " + s.ids.length + " points")
        : element("p", { class: "notice" }, "this sweep is not there any more"), s && s.command ? element("pre", {}, s.command) : "");
      const done = v.list.filter((r) => r.state === "done"), columns = columnsOf(v.list);
      const objective = (s && s.objective) || (columns.find((c) => c.kind === "value") || {}).name;
      const axes = columns.filter((c) => c.kind === "param" && c.name !== "seed" && done.some((r) => typeof r.params[c.name] === "number"));
      for (const axis of axes) {
        const points = done.filter((r) => typeof r.params[axis.name] === "number" && typeof r.values[objective] === "number")
          .map((r) => [r.params[axis.name], r.values[objective]]).sort((a, b) => a[0] - b[0]);
        const xs = points.map((p) => p[0]);
        const logX = xs.length > 0 && xs[0] > 0 && xs[xs.length - 1] > 20 * xs[0];
        let chart = charts.get(axis.name);
        if (!chart) {
          chart = new Chart(objective + " over " + axis.name, { points: true, x: axis.name, logX });
          charts.set(axis.name, chart);
          grid.append(chart.panel);
        }
        chart.update([{ label: objective, buckets: points }]);
      }
    };
    v.close = () => { close(); charts.forEach((c) => c.close()); };
    return v;
  }

  // ---- one run, and several --------------------------------------------------------------------
  function runView(id) {
    const v = { };
    const charts = new Charts(), head = element("div"), rest = element("div"), notice = element("p", { class: "notice", hidden: true });
    page.replaceChildren(notice, head, heading("Curves"), charts.element, rest);
    let last = "";
    v.reading = (which, a) => { notice.hidden = false; notice.textContent = "reading the metrics: " + Math.round(100 * a.read / Math.max(1, a.size)) + " %"; };
    v.update = () => { };
    v.draw = async () => {
      try {
        const detail = await ask("/api/run", { id });
        if (view !== v) return;
        if (!detail) {
          notice.hidden = false;
          notice.textContent = "this run is not there any more";
          return;
        }
        const text = JSON.stringify(detail);
        if (text !== last) {
          last = text;
          head.replaceChildren(...moon.runHead(detail));
          rest.replaceChildren(...moon.runSections(detail, (name) =>
            "/figure?id=" + encodeURIComponent(id) + "&name=" + encodeURIComponent(name) + "&v=" + encodeURIComponent(detail.stamp || ""), null));
        }
        const got = await follow(id);
        if (view !== v || !got) return;
        charts.update([got]);
        const a = got.curves.answer;
        const words = [a.damaged ? a.damaged + " damaged lines are left out" : "", a.left_out ? "some curves are left out" : "",
          got.curves.list.size ? "" : "no metrics yet"].filter(Boolean);
        notice.hidden = words.length === 0;
        notice.textContent = words.join("; ");
      } catch (e) { failed(e); }
    };
    v.close = () => charts.close();
    return v;
  }

  function compareView(ids) {
    const v = { };
    const charts = new Charts(), differs = element("div"), claims = element("div"), notice = element("p", { class: "notice", hidden: true });
    page.replaceChildren(element("h1", {}, "comparing " + ids.length + " runs"), notice,
      heading("What differs"), differs, heading("Curves"), charts.element, claims);
    v.update = () => { };
    v.draw = async () => {
      try {
        const answer = await ask("/api/compare", { ids: ids.join(",") });
        if (view !== v) return;
        const names = listOf(answer.names);
        notice.hidden = names.length === ids.length;
        notice.textContent = "some of these runs are not there any more";
        differs.replaceChildren(names.length ? table(["", ...names.map((id) => element("a", { href: "#run=" + id }, id))],
          [["state", ...names.map((id) => (rows.get(id) ? state(rows.get(id).state) : "-"))], ...listOf(answer.rows)]) : "");
        if (many(answer.claims)) claims.replaceChildren(heading("Claims"), table(["", ...names], answer.claims));
        const got = (await Promise.all(names.map(follow))).filter(Boolean);
        if (view === v) charts.update(got);
      } catch (e) { failed(e); }
    };
    v.close = () => charts.close();
    return v;
  }

  // ---- the whole ---------------------------------------------------------------------------------
  function route() {
    if (view) view.close();
    const [, kind, word] = /^#(run|compare|sweep)=(.*)$/.exec(location.hash) || [];
    const plain = (w) => /^[\w.-]+$/.test(w);
    const words = (word || "").split(",").filter(plain);
    if (kind === "run" && words.length === 1) view = runView(words[0]);
    else if (kind === "compare" && words.length) { words.slice(0, 20).forEach((w) => selected.add(w)); view = compareView(words.slice(0, 20)); }
    else if (kind === "sweep" && words.length === 1) view = sweepView(words[0]);
    else view = homeView();
    document.title = (words.length ? words.join(", ") + " – " : "") + "moonlab";
    view.update();
    view.draw();
    scrollTo(0, 0);
  }

  function failed(e) {
    silent++;
    status.textContent = "the server does not answer (" + e.message + ")";
  }

  async function tick() {
    if (!document.hidden || silent) {
      try {
        const news = await refresh();
        silent = 0;
        status.textContent = store;
        if (news && view) view.update();
        if (view && (news || [...rows.values()].some((r) => r.state === "running"))) await view.draw();
      } catch (e) { failed(e); }
    }
    setTimeout(tick, 2000);
  }

  addEventListener("hashchange", route);
  refresh().then(() => { status.textContent = store; }, failed).then(() => { route(); setTimeout(tick, 2000); });
})();
