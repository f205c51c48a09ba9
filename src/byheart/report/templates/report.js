// Script of the report page: switches, charts, table of records, light and dark theme. Everything that comes from the
// results is written as text, never as markup. Vega draws the charts with its expression interpreter, so that the
// Content-Security-Policy need not allow code from strings.
"use strict";
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const content = JSON.parse(await new Response(stream).text());
  const root = document.documentElement;
  const narrow = () => window.innerWidth < 720;
  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const exact = (value) => (value === null || value === undefined ? "" : String(Number(value.toPrecision(5))));

  // ---- current selection
  const picked = { ...content.picked };
  // Settings of a figure in the study file take precedence over the switches.
  const selectionOf = (name) => ({ ...picked, ...content.pinned[name] });
  const panelOf = (data, base) => content.panels.find((p) => p.data === data && p.base === base);
  const chosen = content.panels.find((p) => p.name === picked.panel) || content.panels[0] || {};
  const state = { data: chosen.data, base: chosen.base };

  // ---- charts
  const charts = new Map();
  const dark = () => root.dataset.theme === "dark";
  const themed = (spec) => {
    let text = JSON.stringify(spec);
    if (dark()) for (const [light, other] of Object.entries(content.colours)) text = text.replaceAll(light, other);
    return { ...JSON.parse(text), config: content.config[dark() ? "dark" : "light"] };
  };
  const parametersOf = (spec) => new Set((spec.params || []).map((p) => p.name));
  const rowsOf = (spec, name) => (content.data[name] || []).map((row) => ({ ...row }));

  // A chart that can grow can also shrink. A heat map keeps its size and scrolls.
  const minimumWidth = (spec) => (parametersOf(spec).has("tall") ? 120 : spec.spec.width);
  const fitted = (spec, box) => {
    const room = box.clientWidth;
    const inner = spec.spec;
    if (!inner) return spec;
    // One panel fills the page's width; small multiples keep their size and wrap.
    const alone = spec.facet.field === "panel";
    const across = alone ? 1 : Math.max(1, Math.min(spec.columns, Math.floor(room / (inner.width + 34))));
    const free = room - (narrow() ? 90 : 150);
    const wide = alone ? Math.max(minimumWidth(spec), free) : Math.max(inner.width, Math.floor(room / across) - 44);
    const grows = parametersOf(spec).has("tall");
    const tall = grows ? Math.max(inner.height, narrow() ? 220 : 320) : inner.height;
    const params = (spec.params || []).map((p) => (p.name === "tall" ? { ...p, value: tall } : p.name === "gap" ? { ...p, value: 14 } : p));
    return { ...spec, columns: across, params, spec: { ...inner, width: wide, height: tall } };
  };

  const fitToWidth = async (view, box) => {
    // The width of labels and axes is known only after drawing.
    for (let turn = 0; turn < 3; turn += 1) {
      const svg = box.querySelector("svg");
      const over = svg ? Number(svg.getAttribute("width")) - box.clientWidth : 0;
      if (over <= 0) break;
      try {
        const [now, end] = [view.signal("child_width"), minimumWidth(content.figures[box.dataset.name])];
        if (now <= end) break;
        view.signal("child_width", Math.max(end, now - over - 2));
      } catch (_) {
        return;
      }
      await view.resize().runAsync();
    }
    const svg = box.querySelector("svg");
    const wide = Boolean(svg) && Number(svg.getAttribute("width")) > box.clientWidth && Boolean(content.figures[box.dataset.name].spec);
    box.classList.toggle("wide", wide);
    if (wide) for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", `Chart: ${box.dataset.name}`]]) box.setAttribute(name, value);
    else for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  };

  const draw = async (box) => {
    const name = box.dataset.name;
    const bare = content.figures[name];
    const spec = themed(fitted(bare, box));
    spec.params = (spec.params || []).map((p) =>
      p.name.startsWith("pick_") && p.name.slice(5) in picked ? { ...p, value: selectionOf(name)[p.name.slice(5)] } : p,
    );
    spec.datasets = Object.fromEntries(content.reads[name].map((n) => [n, rowsOf(bare, n)]));
    spec.description = description(name);
    const place = make("div", null, { class: "chart" });
    const before = charts.get(name);
    const embedded = await vegaEmbed(place, spec, {
      ast: true,
      renderer: "svg",
      actions: false,
      logLevel: 1, // Vega warns of a panel without marks, which happens for a moment when the panel changes
      defaultStyle: false,
      tooltip: { theme: dark() ? "dark" : "light", disableDefaultStyle: true },
    });
    if (before) before.finalize();
    box.replaceChildren(place);
    charts.set(name, embedded);
    await fitToWidth(embedded.view, box);
    caption(name, box);
  };

  const redraw = async () => {
    for (const box of document.querySelectorAll(".drawn")) await draw(box);
  };

  // ---- the numbers of a figure, as text and as a table
  const numbers = (name) => (content.reads[name].includes("points") ? rowNumbers(name) : scoreNumbers(name));
  const rowNumbers = (name) => {
    const parameters = parametersOf(content.figures[name]);
    const isLeakage = parameters.has("pick_metric");
    const chosen = selectionOf(name);
    return content.data.points.filter(
      (p) =>
        (isLeakage ? p.metric === chosen.metric && p.attack !== "" : p.metric === "perplexity" && p.attack === "") &&
        (!parameters.has("pick_attack") || p.attack === chosen.attack) &&
        (!parameters.has("pick_panel") || p.panel === chosen.panel) &&
        (!parameters.has("pick_epoch") || p.epoch === Math.min(chosen.epoch, p.last)) &&
        p.seed === chosen.seed && !p.initialized,
    );
  };
  // Densities and ROC curves have hundreds of points: the table shows summary numbers of each curve instead.
  const scoreNumbers = (name) => {
    const chosen = selectionOf(name);
    return content.reads[name]
      .flatMap((read) => content.data[read])
      .filter(
        (p) =>
          p.numbers &&
          p.attack === chosen.attack &&
          (chosen.panel === "" || p.panel === chosen.panel) &&
          (p.series === "base model" || (p.epoch === Math.min(chosen.epoch, p.last) && (chosen.seed === "" ? p.first : p.seed === chosen.seed))),
      )
      .map((p) => ({ ...p, ...p.numbers }));
  };
  const selection = (name) => {
    const parameters = parametersOf(content.figures[name]);
    const chosen = selectionOf(name);
    const parts = [];
    if (parameters.has("pick_attack")) parts.push(chosen.attack);
    if (parameters.has("pick_metric")) parts.push(chosen.metric);
    if (parameters.has("pick_panel") && chosen.panel) parts.push(chosen.panel);
    if (parameters.has("pick_epoch")) parts.push(`after epoch ${chosen.epoch}`);
    if (parameters.has("pick_seed") && content.seeds.length > 1) parts.push(chosen.seed === "" ? "all seeds" : `seed ${chosen.seed}`);
    return parts.join(" · ");
  };
  const description = (name) => {
    const lastPoints = numbers(name).filter((p) => p.epoch === Math.min(selectionOf(name).epoch, p.last));
    const listed = lastPoints.filter((p) => p.side !== "non-members").slice(0, 12);
    const values = listed.map((p) => `${p.series}${p.attack && !parametersOf(content.figures[name]).has("pick_attack") ? ", " + p.attack : ""}: ${p.value === undefined ? "AUC " + exact(p.auc) : exact(p.value)}${p.low === null ? "" : ` (${exact(p.low)} to ${exact(p.high)})`}`);
    return [content.words[name], selection(name), values.join("; ")].filter((x) => x).join(" ");
  };
  const columns = (rows) => [
    ["method", "series"], ["attack", "attack"], ["records", "side"], ["epoch", "epoch"], ["value", "value"], ["AUC", "auc"],
    ["interval low", "low"], ["interval high", "high"], ["perplexity", "perplexity"],
    ...[...new Set(rows.flatMap((r) => Object.keys(r.numbers || {})))].map((n) => [n, n]),
    ["members", "members"], ["non-members", "nonmembers"],
  ];
  const table = (rows) => {
    const shown = columns(rows).filter(([, field]) => rows.some((r) => r[field] !== null && r[field] !== undefined && r[field] !== ""));
    const made = make("table");
    const head = made.createTHead().insertRow();
    for (const [title] of shown) head.append(make("th", title, { scope: "col" }));
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const [, field] of shown) {
        const value = row[field];
        line.append(make("td", typeof value === "number" ? exact(value) : value, typeof value === "number" ? { class: "flush" } : {}));
      }
    }
    return made;
  };
  const caption = (name, box) => {
    const figure = box.closest("figure");
    figure.querySelector(".picked").textContent = selection(name);
    const rows = numbers(name);
    const details = figure.querySelector("details.numbers");
    details.hidden = !rows.length;
    const fill = () => details.querySelector(".scroll").replaceChildren(table(rows));
    details.ontoggle = () => details.open && fill();
    if (details.open) fill();
  };

  const update = async () => {
    for (const [name, embedded] of charts) {
      const box = document.querySelector(`.drawn[data-name="${CSS.escape(name)}"]`);
      const parameters = parametersOf(content.figures[name]);
      for (const [what, value] of Object.entries(selectionOf(name)))
        if (parameters.has(`pick_${what}`)) embedded.view.signal(`pick_${what}`, value);
      embedded.view.description(description(name));
      await embedded.view.runAsync();
      await fitToWidth(embedded.view, box);
      caption(name, box);
    }
    renderRecords();
  };

  // ---- switches
  // Not every attack has every metric: the last selection stays, and the other switch moves to its first valid option.
  const measured = new Map();
  for (const p of content.data.points || []) {
    if (!p.attack) continue;
    if (!measured.has(p.attack)) measured.set(p.attack, new Set());
    measured.get(p.attack).add(p.metric);
  }
  const makeValid = (what) => {
    const has = (attack, metric) => (measured.get(attack) || new Set()).has(metric);
    if (!measured.size || has(picked.attack, picked.metric)) return;
    if (what === "metric") picked.attack = content.attacks.find((a) => has(a, picked.metric)) || picked.attack;
    else picked.metric = content.metrics.find((m) => has(picked.attack, m)) || picked.metric;
  };
  const applySelection = (changed) => {
    makeValid(changed);
    const panel = panelOf(state.data, state.base) || content.panels.find((p) => p.data === state.data);
    if (panel) {
      state.base = panel.base;
      picked.panel = panel.name;
    }
    for (const select of document.querySelectorAll("[data-pick]")) {
      const what = select.dataset.pick;
      select.value = String(what in state ? state[what] : picked[what]);
    }
    for (const output of document.querySelectorAll("[data-told=epoch]")) output.textContent = picked.epoch;
  };
  for (const control of document.querySelectorAll("[data-pick]")) {
    control.disabled = false;
    control.addEventListener(control.type === "range" ? "input" : "change", async () => {
      const what = control.dataset.pick;
      if (what in state) state[what] = control.value;
      else picked[what] = what === "epoch" ? Number(control.value) : control.value;
      applySelection(what);
      await update();
    });
  }

  // ---- records
  const place = document.getElementById("records-list");
  const order = { by: "share", down: true, limit: 25 };
  const share = (value) => (value === null ? "" : `${(value / 10).toFixed(1)} %`);
  const selectedCell = () => {
    const method = document.getElementById("records-method");
    const cells = content.records.filter((c) => c.panel === picked.panel);
    const names = [...new Set(cells.map((c) => c.series))];
    const wanted = names.includes(method.value) ? method.value : names[0];
    method.replaceChildren(...names.map((n) => make("option", n, { value: n })));
    if (wanted !== undefined) method.value = wanted;
    return cells.find((c) => c.series === wanted && (picked.seed === "" ? c.first : c.seed === picked.seed));
  };
  const renderRecords = () => {
    if (!place) return;
    const cell = selectedCell();
    const note = document.getElementById("records-note");
    if (!cell) {
      place.replaceChildren();
      note.textContent = "No scores are stored for this selection.";
      return;
    }
    const attack = picked.attack in cell.scores ? picked.attack : Object.keys(cell.scores)[0];
    const epochIndex = Math.max(0, cell.epochs.indexOf(Math.min(picked.epoch, cell.epochs[cell.epochs.length - 1])));
    const filter = document.getElementById("records-filter").value.toLowerCase();
    const matches = cell.ids
      .map((id, i) => ({ id, i, share: cell.shares[attack][i][epochIndex], score: cell.scores[attack][i][epochIndex] }))
      .filter((r) => r.id.toLowerCase().includes(filter));
    matches.sort((a, b) => {
      const [x, y] = [a[order.by], b[order.by]];
      const sign = x < y ? -1 : x > y ? 1 : 0;
      return (order.down ? -sign : sign) || (cell.reversed ? a.score - b.score : b.score - a.score);
    });
    const listed = cell.ids.length === cell.members ? `all ${cell.members} members` : `the ${cell.ids.length} most exposed of ${cell.members} members`;
    const summary = `${matches.length} of ${listed}; attack ${attack}, epoch ${cell.epochs[epochIndex]}${content.seeds.length > 1 ? `, seed ${cell.seed}` : ""}.`;
    note.textContent = cell.leaks ? summary : `${summary} No leakage is shown for this method: this ranking may be random.`;
    const made = make("table", null, { class: "records" });
    const head = made.createTHead().insertRow();
    for (const [title, by] of [["record", "id"], [`non-members with a ${cell.reversed ? "higher" : "lower"} score`, "share"], ["score", "score"]]) {
      const cellHead = make("th", null, { scope: "col", "aria-sort": order.by === by ? (order.down ? "descending" : "ascending") : "none" });
      const button = make("button", title, { type: "button", "data-sort": by });
      button.addEventListener("click", () => {
        order.down = order.by === by ? !order.down : by !== "id";
        order.by = by;
        renderRecords();
        place.querySelector(`[data-sort="${by}"]`).focus();
      });
      cellHead.append(button);
      head.append(cellHead);
    }
    head.append(make("th", "details", { scope: "col" }));
    const body = made.createTBody();
    for (const record of matches.slice(0, order.limit)) {
      const line = body.insertRow();
      const named = make("th", null, { scope: "row" });
      named.append(make("bdi", record.id));
      line.append(named, make("td", share(record.share), { class: "flush" }), make("td", exact(record.score), { class: "flush" }));
      const button = make("button", "all scores", { type: "button", "aria-expanded": "false", "aria-label": `all scores of ${record.id}` });
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!open));
        if (open) line.nextElementSibling.remove();
        else line.after(scoreDetails(cell, record));
      });
      const last = make("td");
      last.append(button);
      line.append(last);
    }
    place.replaceChildren(made);
    const more = document.getElementById("records-more");
    more.hidden = matches.length <= order.limit;
  };
  const scoreDetails = (cell, record) => {
    const line = make("tr", null, { class: "drill" });
    const wide = make("td", null, { colspan: "4" });
    const inner = make("table");
    const head = inner.createTHead().insertRow();
    head.append(make("th", "attack", { scope: "col" }));
    for (const epoch of cell.epochs) head.append(make("th", `epoch ${epoch}`, { scope: "col", class: "flush" }));
    const body = inner.createTBody();
    for (const [attack, scores] of Object.entries(cell.scores)) {
      const row = body.insertRow();
      row.append(make("th", attack, { scope: "row" }));
      scores[record.i].forEach((score, e) => {
        const td = make("td", score === null ? "" : share(cell.shares[attack][record.i][e]), { class: "flush" });
        if (score !== null) td.append(make("small", exact(score)));
        row.append(td);
      });
    }
    const scroll = make("div", null, { class: "scroll plain", tabindex: "0", role: "region", "aria-label": `scores of ${record.id}` });
    scroll.append(inner);
    wide.append(make("p", `Share of non-members with a ${cell.reversed ? "higher" : "lower"} score than this record. The small number is the score.`, { class: "note" }), scroll);
    const view = cell.texts[record.i];
    if (view) wide.append(tokenView(record, view));
    line.append(wide);
    return line;
  };
  const tokenView = (record, view) => {
    const box = make("div", null, { class: "tokens", dir: "auto", tabindex: "0", role: "region", "aria-label": `text of ${record.id}` });
    view.pieces.forEach((piece, i) => {
      const span = make("span", piece, { class: view.masked.includes(i) ? "token masked" : "token" });
      if (view.tuned) {
        const gain = view.base ? view.tuned[i] - view.base[i] : 0;
        span.style.setProperty("--gain", Math.max(0, Math.min(1, gain / 6)).toFixed(2));
        span.title = [`fine-tuned model: ${exact(-view.tuned[i])} nats`, view.base ? `base model: ${exact(-view.base[i])} nats` : ""].filter((x) => x).join(", ");
      }
      box.append(span);
    });
    const holder = make("div");
    const legend = view.tuned && view.base ? "Text of the record, token by token. Darker tokens gained more log-probability over the base model (darkest: 6 nats or more)." : "Text of the record.";
    holder.append(make("p", `${legend} ${view.note}`, { class: "note" }), box);
    return holder;
  };
  if (place) {
    document.getElementById("records-method").addEventListener("change", renderRecords);
    document.getElementById("records-filter").addEventListener("input", renderRecords);
    document.getElementById("records-more").addEventListener("click", () => {
      order.limit += 100;
      renderRecords();
    });
  }

  // ---- light and dark theme
  const button = document.getElementById("theme");
  const setTheme = (name) => {
    root.dataset.theme = name;
    button.setAttribute("aria-pressed", String(name === "dark"));
  };
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  button.hidden = false;
  button.addEventListener("click", async () => {
    setTheme(dark() ? "light" : "dark");
    await redraw();
  });

  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      if (Math.abs(window.innerWidth - width) > 40) {
        width = window.innerWidth;
        await redraw();
      }
    }, 200);
  });

  root.classList.add("alive");
  applySelection();
  await redraw();
  renderRecords();
  root.dataset.ready = "true";
})();
