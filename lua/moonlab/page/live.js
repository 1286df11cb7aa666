// The live page: asks the server every two seconds for what is new.
"use strict";
(() => {
  const { element, number, duration, state, Charts, Chart, Curves, heading, table, many, list: listOf } = moon;
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

  function counts(list) {
    const n = {};
    for (const row of list) n[row.state] = (n[row.state] || 0) + 1;
    return ["running", "done", "diverged", "failed", "interrupted"].filter((w) => n[w]).map((w) => n[w] + " " + w).join(", ");
  }

  const cellOf = (row, column) => column.kind === "param" ? row.params[column.name]
    : column.kind === "value" ? row.values[column.name] : row[column.name];

  // What a filter word asks of a row: key=value, key<number, key>number, or any text.
  function passes(row, words) {
    return words.every((word) => {
      const m = /^([\w.]+)(<=|>=|=|<|>)(.+)$/.exec(word);
      if (m) {
        const found = [row[m[1]], row.params[m[1]], row.values[m[1]]].find((v) => v !== undefined);
        if (found === undefined) return false;
        const a = Number(found), b = Number(m[3]);
        if (m[2] === "=") return String(found) === m[3] || (found !== "" && a === b);
        return m[2] === "<" ? a < b : m[2] === ">" ? a > b : m[2] === "<=" ? a <= b : a >= b;
      }
      const text = [row.id, row.state, row.recipe, row.size, row.tags].join(" ").toLowerCase();
      return text.includes(word.toLowerCase());
    });
  }

  // Parameters that differ, and numbers that were found; the rest is on the page of the run.
  function columnsOf(list) {
    const seen = new Map(), found = new Map();
    for (const row of list) {
      for (const [name, v] of Object.entries(row.params)) {
        if (!seen.has(name)) seen.set(name, new Set());
        if (seen.get(name).size < 3) seen.get(name).add(v);
      }
      for (const name of Object.keys(row.values)) found.set(name, (found.get(name) || 0) + 1);
    }
    const params = [...seen].filter(([, s]) => s.size > 1).map(([name]) => name).sort().slice(0, 6);
    const rank = (name) => (/loss|error|bits|risk|rate$/.test(name) ? 0 : /acc/.test(name) ? 1 : /lr|norm|second|time/.test(name) ? 3 : 2);
    const values = [...found].sort((a, b) => rank(a[0]) - rank(b[0]) || b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 4).map((f) => f[0]);
    return [{ name: "id", label: "run" }, { name: "state", label: "state" },
      ...(new Set(list.map((r) => r.recipe)).size > 1 ? [{ name: "recipe", label: "recipe" }] : []),
      ...params.map((name) => ({ kind: "param", name, label: name })),
      ...values.map((name) => ({ kind: "value", name, label: name })),
      ...(list.some((r) => r.claims) ? [{ name: "claims", label: "claims" }] : []),
      { name: "step", label: "step" }, { name: "started", label: "started" }, { name: "seconds", label: "took" }];
  }

  function textOf(row, column) {
    const v = cellOf(row, column);
    if (column.name === "seconds") return duration(v);
    if (column.name === "started") return v ? v.slice(5, 16).replace("T", " ") : "";
    return number(v);
  }

  class RunTable {
    constructor(changed) {
      this.changed = changed;
      this.most = 100;
      this.key = "started";
      this.down = true;
      this.head = element("thead");
      this.body = element("tbody");
      this.trs = new Map();
      this.more = element("button", { class: "plain", type: "button", onclick: () => { this.most += 200; this.update(this.list); } });
      this.element = element("div", {}, element("div", { class: "scroll" },
        element("table", { class: "runs" }, this.head, this.body)), element("div", { class: "bar" }, this.more));
    }
    sortBy(column) {
      if (this.key === column.label) this.down = !this.down;
      else { this.key = column.label; this.down = column.name === "started"; }
      this.update(this.list);
    }
    sorted(list, columns) {
      const column = columns.find((c) => c.label === this.key) || columns[columns.length - 2];
      const sign = this.down ? -1 : 1;
      const missing = (v) => v === undefined || v === null || v === "" || v === "nan";
      return list.slice().sort((a, b) => {
        const x = cellOf(a, column), y = cellOf(b, column);
        if (missing(x) || missing(y)) return missing(x) - missing(y) || (a.id < b.id ? -1 : 1);
        if (typeof x === "number" && typeof y === "number") return sign * (x - y) || (a.id < b.id ? -1 : 1);
        return sign * (String(x) < String(y) ? -1 : String(x) > String(y) ? 1 : 0) || (a.id < b.id ? -1 : 1);
      });
    }
    update(list) {
      this.list = list;
      const columns = columnsOf(list);
      const key = columns.map((c) => c.label).join("\n") + this.key + this.down;
      if (key !== this.columnKey) {
        this.columnKey = key;
        this.trs.clear();
        this.head.textContent = "";
        this.head.append(element("tr", {}, element("th", {}), columns.map((c) => element("th", { scope: "col", class: list.some((row) => typeof cellOf(row, c) === "number") ? "number" : null,
          "aria-sort": c.label === this.key ? (this.down ? "descending" : "ascending") : null },
          element("button", { type: "button", onclick: () => this.sortBy(c) },
            c.label + (c.label === this.key ? (this.down ? " ↓" : " ↑") : ""))))));
      }
      const shown = this.sorted(list, columns).slice(0, this.most);
      this.shown = shown;
      const trs = shown.map((row) => {
        const known = this.trs.get(row.id);
        if (known && known.row === row) {
          known.box.checked = selected.has(row.id);
          return known.tr;
        }
        const box = element("input", { type: "checkbox", "aria-label": "choose " + row.id, onchange: () => {
          if (box.checked) selected.add(row.id); else selected.delete(row.id);
          this.changed();
        } });
        box.checked = selected.has(row.id);
        const tr = element("tr", {}, element("td", { class: "pick" }, box), columns.map((c) => {
          if (c.name === "id" && !c.kind) return element("td", { class: "id" }, element("a", { href: "#run=" + row.id }, row.id));
          const text = textOf(row, c);
          const isNumber = typeof cellOf(row, c) === "number";
          return element("td", { class: "cell-" + (c.kind || c.name) + (isNumber ? " number" : "") + (text === "" ? " empty" : ""), "data-label": c.label },
            c.name === "state" && !c.kind ? state(row.state) : text);
        }));
        this.trs.set(row.id, { row, tr, box });
        return tr;
      });
      this.body.replaceChildren(...trs);
      this.more.hidden = shown.length >= list.length;
      this.more.textContent = "show more (" + (list.length - shown.length) + " left)";
    }
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
    v.table = new RunTable(() => { v.update(); v.draw(); });
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
