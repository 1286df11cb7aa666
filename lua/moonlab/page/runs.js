// The table of runs that the live page and long reports share: what runs are in it, columns, order.
"use strict";
const moonRuns = (() => {
  const { element, number, duration, state } = moon;

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
    // selected: a set of ids; changed() follows a tick; link(id) is what stands in the first column.
    constructor(selected, changed, link) {
      this.selected = selected;
      this.changed = changed;
      this.link = link;
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
          known.box.checked = this.selected.has(row.id);
          return known.tr;
        }
        const box = element("input", { type: "checkbox", "aria-label": "choose " + row.id, onchange: () => {
          if (box.checked) this.selected.add(row.id); else this.selected.delete(row.id);
          this.changed();
        } });
        box.checked = this.selected.has(row.id);
        const tr = element("tr", {}, element("td", { class: "pick" }, box), columns.map((c) => {
          if (c.name === "id" && !c.kind) return element("td", { class: "id" }, this.link(row.id));
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

  return { counts, passes, columnsOf, RunTable };
})();
