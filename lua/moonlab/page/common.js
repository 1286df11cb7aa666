// What reports and the live page share: elements, tables, curves. Texts of runs become text nodes,
// never markup.
"use strict";
const moon = (() => {
  // ---- elements ------------------------------------------------------------------------------
  // element("a", { href: "#x", class: "y" }, "text", child, ...)
  function element(tag, attributes, ...children) {
    const e = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
      else if (value === true) e.setAttribute(name, "");
      else if (value !== false && value != null) e.setAttribute(name, value);
    }
    e.append(...children.flat().filter((c) => c != null && c !== false));
    return e;
  }

  function number(x) {
    if (typeof x !== "number") return x == null ? "" : String(x);
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
    if (Number.isInteger(x) && Math.abs(x) < 1e15) return String(x);
    const a = Math.abs(x);
    return a >= 1e6 || a < 1e-4 ? x.toExponential(3) : String(Number(x.toPrecision(5)));
  }

  function duration(s) {
    if (typeof s !== "number") return "";
    if (s < 10) return s.toFixed(1) + " s";
    if (s < 120) return Math.round(s) + " s";
    if (s < 7200) return Math.round(s / 60) + " min";
    return s < 172800 ? (s / 3600).toFixed(1) + " h" : (s / 86400).toFixed(1) + " d";
  }

  const state = (word) => element("span", { class: "state " + word.replace(/[^a-z]/g, "") }, word);

  function pairs(entries) {
    const dl = element("dl", { class: "pairs" });
    for (const [name, value] of entries) dl.append(element("dt", {}, name), element("dd", {}, value));
    return dl;
  }

  // A table of texts; the first cell of a row is its name.
  function table(header, rows) {
    const head = element("tr", {}, header.map((t) => element("th", { scope: "col" }, t)));
    const body = rows.map((row) => element("tr", {},
      row.map((t, i) => (i ? element("td", {}, t) : element("th", { scope: "row" }, t)))));
    return element("div", { class: "scroll" },
      element("table", {}, element("thead", {}, head), element("tbody", {}, body)));
  }

  // An empty list arrives as {}.
  const list = (x) => (Array.isArray(x) ? x : []);

  // ---- curves --------------------------------------------------------------------------------
  // Colours after Okabe and Ito, for a light and a dark ground; then the same with dashes.
  const light = ["#0072b2", "#d55e00", "#00795b", "#a5447f", "#8a6d00", "#3d8fc4", "#6a3d9a", "#444444"];
  const dark = ["#56b4e9", "#f0894a", "#2fc79a", "#e397c3", "#e6c84a", "#9dc7ff", "#b79df0", "#c8c8c8"];
  const dashes = [null, [7, 4], [2, 3], [9, 3, 2, 3]];
  const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;
  const colour = (i) => (isDark() ? dark : light)[i % 8];
  const dash = (i) => dashes[Math.floor(i / 8) % dashes.length];

  function swatch(i) {
    const ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg");
    const line = document.createElementNS(ns, "line");
    for (const [k, v] of [["width", 22], ["height", 8], ["aria-hidden", "true"]]) svg.setAttribute(k, v);
    for (const [k, v] of [["x1", 0], ["x2", 22], ["y1", 4], ["y2", 4], ["stroke", colour(i)], ["stroke-width", 2.5]]) line.setAttribute(k, v);
    if (dash(i)) line.setAttribute("stroke-dasharray", dash(i).join(" "));
    svg.append(line);
    return svg;
  }

  // Rows [x, y of curve 1, y of curve 2, ...] by x; null: no point there, NaN: a gap.
  function rowsOf(curves) {
    const at = new Map(), rows = [];
    curves.forEach((curve, k) => {
      for (const bucket of curve.buckets) {
        for (let i = 0; i < bucket.length; i += 2) {
          const x = bucket[i], y = bucket[i + 1] === null ? NaN : bucket[i + 1];
          let row = at.get(x);
          if (!row || row[k + 1] !== null) {
            row = new Array(curves.length + 1).fill(null);
            row[0] = x;
            rows.push(row);
            at.set(x, row);
          }
          row[k + 1] = y;
        }
      }
    });
    return rows.sort((a, b) => a[0] - b[0]);
  }

  // Whether a logarithmic axis shows more: all above 0, over more than a decade or so.
  function wantsLog(curves) {
    let low = Infinity, high = 0;
    for (const curve of curves) {
      for (const bucket of curve.buckets) {
        for (let i = 1; i < bucket.length; i += 2) {
          const y = bucket[i];
          if (y === null) continue;
          if (!(y > 0)) return false;
          low = Math.min(low, y);
          high = Math.max(high, y);
        }
      }
    }
    return high > 20 * low;
  }

  // The legend is ours; that of dygraphs sets markup and styles that the policy of the page forbids.
  Dygraph.PLUGINS = Dygraph.PLUGINS.filter((plugin) => plugin !== Dygraph.Plugins.Legend);

  const open = new Set();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => open.forEach((c) => c.draw(true)));

  // A panel with the curves of one name: { label, buckets, marks, bad, count, width }.
  class Chart {
    constructor(title, options = {}) {
      this.options = options;
      this.plot = element("div", { class: "plot", role: "img", "aria-label": "curves of " + title });
      this.legend = element("div", { class: "legend" });
      this.note = element("div", { class: "small soft" });
      this.button = element("button", { class: "plain", type: "button", onclick: () => { this.log = !this.isLog; this.draw(true); } }, "log");
      this.panel = element("section", { class: "chart" },
        element("div", { class: "head" }, element("h3", {}, title), this.button),
        this.plot, this.legend, this.note);
      this.curves = [];
      open.add(this);
    }
    close() {
      if (this.graph) this.graph.destroy();
      this.graph = null;
      open.delete(this);
      this.panel.remove();
    }
    update(curves) {
      this.curves = curves;
      this.draw(false);
    }
    draw(afresh) {
      if (!this.plot.isConnected) return;
      const curves = this.curves.filter((c) => c.buckets.length);
      const possible = curves.every((c) => c.buckets.every((b) => b.every((y, i) => i % 2 === 0 || y === null || y > 0)));
      this.isLog = possible && (this.log === undefined ? wantsLog(curves) : this.log);
      this.button.disabled = !possible;
      this.button.setAttribute("aria-pressed", String(this.isLog));
      const labels = ["x", ...curves.map((c, i) => "c" + i)];
      const rows = rowsOf(curves);
      const shape = labels.length + (this.isLog ? "l" : "");
      this.shown = curves;
      this.drawLegend(null);
      const bad = curves.reduce((n, c) => n + (c.bad || 0), 0);
      const thinned = curves.some((c) => c.width > 1);
      this.note.textContent = [bad ? bad + (bad === 1 ? " value is" : " values are") + " not finite (red marks)" : "",
        thinned ? "thinned: least and greatest of every " + Math.max(...curves.map((c) => c.width)) + " points" : ""]
        .filter(Boolean).join("; ");
      if (!rows.length) {
        if (this.graph) this.graph.destroy();
        this.graph = null;
        this.plot.textContent = bad ? "no finite value" : "no values yet";
        return;
      }
      if (this.graph && !afresh && shape === this.shape) {
        this.graph.updateOptions({ file: rows });
        return;
      }
      if (this.graph) this.graph.destroy();
      this.plot.textContent = "";
      this.shape = shape;
      const css = getComputedStyle(document.documentElement);
      const one = curves.some((c) => c.buckets.length < 3);
      this.graph = new Dygraph(this.plot, rows, {
        labels, connectSeparatedPoints: true, logscale: this.isLog,
        axes: {
          y: { axisLabelWidth: 58, axisLabelFormatter: (y) => number(y) },
          x: { axisLabelFormatter: (x) => number(x), logscale: this.options.logX === true },
        },
        colors: curves.map((c, i) => colour(i)), strokeWidth: 1.6, drawPoints: one || this.options.points === true,
        pointSize: 3, series: Object.fromEntries(curves.map((c, i) => ["c" + i, {
          strokePattern: dash(i), ...(this.options.points ? { strokeWidth: 0 } : {}) }])),
        xRangePad: this.options.points ? 10 : 0, yRangePad: this.options.points ? 10 : null,
        axisLineColor: css.getPropertyValue("--line").trim(), gridLineColor: css.getPropertyValue("--line").trim(),
        gridLineWidth: 0.6, highlightCircleSize: 4, labelsUTC: true, animatedZooms: false,
        highlightCallback: (e, x, points) => this.drawLegend(x, points),
        unhighlightCallback: () => this.drawLegend(null),
        underlayCallback: (context, area, graph) => this.drawMarks(context, area, graph),
      });
    }
    // Where values are not finite.
    drawMarks(context, area, graph) {
      context.save();
      context.fillStyle = isDark() ? "#ff9a8f" : "#b3261e";
      for (const curve of this.shown) {
        for (const x of list(curve.marks)) {
          const left = graph.toDomXCoord(x);
          if (left >= area.x && left <= area.x + area.w) context.fillRect(left - 1, area.y, 2, 9);
        }
      }
      context.restore();
    }
    // Names, and the values under the pointer or the last ones.
    drawLegend(x, points) {
      const values = new Map((points || []).map((p) => [p.name, p.yval]));
      this.legend.textContent = "";
      if (x !== null) this.legend.append(element("span", { class: "value" }, (this.options.x || "step") + " " + number(x)));
      this.shown.forEach((curve, i) => {
        const value = x === null ? curve.last : values.get("c" + i);
        this.legend.append(element("span", { class: "key" }, swatch(i), curve.label,
          value === undefined ? null : element("span", { class: "value" }, number(value))));
      });
    }
  }

  // The curves of one run as they come: keeps what came before.
  class Curves {
    constructor() { this.generation = 0; this.line = 0; this.list = new Map(); }
    take(answer) {
      if (answer.generation !== this.generation) this.list = new Map();
      this.generation = answer.generation;
      this.line = answer.line;
      this.answer = answer;
      for (const c of list(answer.curves)) {
        const old = this.list.get(c.key);
        const buckets = (old ? old.buckets.slice(0, c.from) : []).concat(list(c.buckets));
        this.list.set(c.key, { ...c, buckets });
      }
    }
  }

  // name -> curves, of several runs; what everybody has first, losses before the rest.
  function byName(runs) {
    const names = new Map();
    runs.forEach(({ id, curves }) => {
      for (const c of curves.list.values()) {
        if (!names.has(c.name)) names.set(c.name, []);
        const label = runs.length > 1 ? id + (c.part ? ", " + c.part : "") : c.part || c.name;
        names.get(c.name).push({ ...c, label });
      }
    });
    const rank = (name) => (/loss|error|bits|risk/.test(name) ? 0 : /acc|norm/.test(name) ? 1 : /second|time|rate/.test(name) ? 3 : 2);
    return [...names].sort((a, b) => rank(a[0]) - rank(b[0]) || (a[0] < b[0] ? -1 : 1));
  }

  // A grid of charts, kept from one update to the next.
  class Charts {
    constructor(most = 12) {
      this.charts = new Map();
      this.most = most;
      this.grid = element("div", { class: "charts" });
      this.more = element("button", { class: "plain", type: "button", hidden: true, onclick: () => { this.most = 1000; this.update(this.runs); } });
      this.element = element("div", {}, this.grid, element("div", { class: "bar" }, this.more));
    }
    update(runs) {
      this.runs = runs;
      const wanted = byName(runs), shown = wanted.slice(0, this.most);
      const names = new Set(shown.map((w) => w[0]));
      for (const [name, chart] of this.charts) {
        if (!names.has(name)) {
          chart.close();
          this.charts.delete(name);
        }
      }
      for (const [name, curves] of shown) {
        let chart = this.charts.get(name);
        if (!chart) {
          chart = new Chart(name);
          this.charts.set(name, chart);
          this.grid.append(chart.panel);
        }
        chart.update(curves);
      }
      this.more.hidden = wanted.length <= this.most;
      this.more.textContent = (wanted.length - this.most) + " more metrics";
    }
    close() { for (const chart of this.charts.values()) chart.close(); this.charts.clear(); }
  }

  // ---- a run ---------------------------------------------------------------------------------
  function claims(entries) {
    return element("ul", { class: "claims" }, entries.map((c) => element("li", {},
      element("span", { class: "verdict " + c.verdict.replace(" ", "-") }, c.verdict),
      element("span", {}, c.name, c.text ? element("span", { class: "soft" }, " " + c.text) : null))));
  }

  const heading = (text) => element("h2", {}, text);
  const many = (x) => list(x).length > 0;

  // All about a run but its curves, which go into `charts`; figure(name) gives an address.
  function runSections(run, figure, charts) {
    const out = [];
    if (many(run.claims)) out.push(heading("Claims"), claims(run.claims));
    if (charts) out.push(heading("Curves"), charts);
    if (many(run.figures)) {
      out.push(heading("Figures"), element("div", { class: "figures" }, run.figures.map((name) =>
        element("figure", {}, element("img", { src: figure(name), alt: "figure " + name, loading: "lazy" }),
          element("figcaption", {}, name)))));
    }
    if (many(run.results.rows)) out.push(heading("Results"), table(["", ...run.results.header], run.results.rows));
    const left = element("div", {}, heading("Configuration"), many(run.params) ? pairs(run.params) : element("p", { class: "soft" }, "no parameters"));
    const right = element("div", {}, heading("How to reproduce"),
      run.reproduce.command ? element("pre", {}, run.reproduce.command) : null,
      pairs([["code", run.reproduce.code], ...(run.reproduce.seed ? [["seed", run.reproduce.seed]] : []),
        ...(many(run.reproduce.machine) ? run.reproduce.machine : [])]));
    out.push(element("div", { class: "columns" }, left, right));
    if (many(run.samples)) {
      out.push(heading("Samples and output"), ...run.samples.map((s) =>
        element("div", {}, element("h3", {}, s.title), element("pre", {}, s.text))));
    }
    return out;
  }

  function runHead(run) {
    return [element("h1", {}, run.id), run.question ? element("p", { class: "question" }, run.question) : null,
      element("p", { class: "head" }, state(run.state), run.message ? element("span", { class: "soft" }, "  " + run.message) : null,
        element("span", { class: "soft" }, "  " + run.facts.map(([k, v]) => k + " " + v).join(" · ")))].filter(Boolean);
  }

  return { element, number, duration, state, pairs, table, Chart, Charts, Curves, runSections, runHead, heading, many, list };
})();
