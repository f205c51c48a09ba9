// What the page does besides standing there: switches, charts, the records, light and dark. Everything that comes from
// the results is written as text, never as markup; charts are drawn by Vega with its expression interpreter, so that
// the page needs no right to make code from strings.
"use strict";
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const held = JSON.parse(await new Response(stream).text());
  const root = document.documentElement;
  const narrow = () => window.innerWidth < 720;
  const make = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const exact = (value) => (value === null || value === undefined ? "" : String(Number(value.toPrecision(5))));

  // ---- what is picked
  const picked = { ...held.picked };
  // A figure that a study's file sets up keeps what is set there, whatever the switches say.
  const at = (name) => ({ ...picked, ...held.pinned[name] });
  const panelOf = (data, base) => held.panels.find((p) => p.data === data && p.base === base);
  const chosen = held.panels.find((p) => p.name === picked.panel) || held.panels[0] || {};
  const state = { data: chosen.data, base: chosen.base };

  // ---- charts
  const charts = new Map();
  const dark = () => root.dataset.theme === "dark";
  const themed = (spec) => {
    let text = JSON.stringify(spec);
    if (dark()) for (const [light, other] of Object.entries(held.colours)) text = text.replaceAll(light, other);
    return { ...JSON.parse(text), config: held.config[dark() ? "dark" : "light"] };
  };
  const parametersOf = (spec) => new Set((spec.params || []).map((p) => p.name));
  const rowsOf = (spec, name) => (held.data[name] || []).map((row) => ({ ...row }));

  // What grows may also shrink; a table of cells is scrolled where it does not fit.
  const least = (spec) => (parametersOf(spec).has("tall") ? 120 : spec.spec.width);
  const fitted = (spec, box) => {
    const room = box.clientWidth;
    const inner = spec.spec;
    if (!inner) return spec;
    // One panel fills the page's width; small multiples keep their size and stand as many abreast as there is room for.
    const alone = spec.facet.field === "panel";
    const across = alone ? 1 : Math.max(1, Math.min(spec.columns, Math.floor(room / (inner.width + 34))));
    const free = room - (narrow() ? 90 : 150);
    const wide = alone ? Math.max(least(spec), free) : Math.max(inner.width, Math.floor(room / across) - 44);
    const grows = parametersOf(spec).has("tall");
    const tall = grows ? Math.max(inner.height, narrow() ? 220 : 320) : inner.height;
    const params = (spec.params || []).map((p) => (p.name === "tall" ? { ...p, value: tall } : p.name === "gap" ? { ...p, value: 14 } : p));
    return { ...spec, columns: across, params, spec: { ...inner, width: wide, height: tall } };
  };

  const narrowed = async (view, box) => {
    // Names and axes take room that is known only when they are drawn.
    for (let turn = 0; turn < 3; turn += 1) {
      const svg = box.querySelector("svg");
      const over = svg ? Number(svg.getAttribute("width")) - box.clientWidth : 0;
      if (over <= 0) break;
      try {
        const [now, end] = [view.signal("child_width"), least(held.figures[box.dataset.name])];
        if (now <= end) break;
        view.signal("child_width", Math.max(end, now - over - 2));
      } catch (_) {
        return;
      }
      await view.resize().runAsync();
    }
    const svg = box.querySelector("svg");
    const wide = Boolean(svg) && Number(svg.getAttribute("width")) > box.clientWidth && Boolean(held.figures[box.dataset.name].spec);
    box.classList.toggle("wide", wide);
    if (wide) for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", `Chart: ${box.dataset.name}`]]) box.setAttribute(name, value);
    else for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  };

  const draw = async (box) => {
    const name = box.dataset.name;
    const bare = held.figures[name];
    const spec = themed(fitted(bare, box));
    spec.params = (spec.params || []).map((p) =>
      p.name.startsWith("pick_") && p.name.slice(5) in picked ? { ...p, value: at(name)[p.name.slice(5)] } : p,
    );
    spec.datasets = Object.fromEntries(held.reads[name].map((n) => [n, rowsOf(bare, n)]));
    spec.description = described(name);
    const place = make("div", null, { class: "chart" });
    const before = charts.get(name);
    const embedded = await vegaEmbed(place, spec, {
      ast: true,
      renderer: "svg",
      actions: false,
      logLevel: 1, // a panel that is left has, for the moment before it goes, nothing to draw, which Vega warns of
      defaultStyle: false,
      tooltip: { theme: dark() ? "dark" : "light", disableDefaultStyle: true },
    });
    if (before) before.finalize();
    box.replaceChildren(place);
    charts.set(name, embedded);
    await narrowed(embedded.view, box);
    caption(name, box);
  };

  const redraw = async () => {
    for (const box of document.querySelectorAll(".drawn")) await draw(box);
  };

  // ---- the numbers behind a picture, as text and as a table
  const numbers = (name) => (held.reads[name].includes("points") ? ofRows(name) : ofScores(name));
  const ofRows = (name) => {
    const parameters = parametersOf(held.figures[name]);
    const leak = parameters.has("pick_metric");
    const own = at(name);
    return held.data.points.filter(
      (p) =>
        (leak ? p.metric === own.metric && p.attack !== "" : p.metric === "perplexity" && p.attack === "") &&
        (!parameters.has("pick_attack") || p.attack === own.attack) &&
        (!parameters.has("pick_panel") || p.panel === own.panel) &&
        (!parameters.has("pick_epoch") || p.epoch === Math.min(own.epoch, p.last)) &&
        p.seed === own.seed,
    );
  };
  // A density and a ROC are curves, drawn of hundreds of scores: what stands for each is told beside it by name.
  const ofScores = (name) => {
    const own = at(name);
    return held.reads[name]
      .flatMap((read) => held.data[read])
      .filter(
        (p) =>
          p.numbers &&
          p.attack === own.attack &&
          (own.panel === "" || p.panel === own.panel) &&
          (p.series === "untuned" || (p.epoch === Math.min(own.epoch, p.last) && (own.seed === "" ? p.first : p.seed === own.seed))),
      )
      .map((p) => ({ ...p, ...p.numbers }));
  };
  const selection = (name) => {
    const parameters = parametersOf(held.figures[name]);
    const own = at(name);
    const told = [];
    if (parameters.has("pick_attack")) told.push(own.attack);
    if (parameters.has("pick_metric")) told.push(own.metric);
    if (parameters.has("pick_panel") && own.panel) told.push(own.panel);
    if (parameters.has("pick_epoch")) told.push(`after epoch ${own.epoch}`);
    if (parameters.has("pick_seed") && held.seeds.length > 1) told.push(own.seed === "" ? "seeds together" : `seed ${own.seed}`);
    return told.join(" · ");
  };
  const described = (name) => {
    const ends = numbers(name).filter((p) => p.epoch === Math.min(at(name).epoch, p.last));
    const spoken = ends.filter((p) => p.side !== "non-members").slice(0, 12);
    const told = spoken.map((p) => `${p.series}${p.attack && !parametersOf(held.figures[name]).has("pick_attack") ? ", " + p.attack : ""}: ${p.value === undefined ? "AUC " + exact(p.auc) : exact(p.value)}${p.low === null ? "" : ` (${exact(p.low)} to ${exact(p.high)})`}`);
    return [held.words[name], selection(name), told.join("; ")].filter((x) => x).join(" ");
  };
  const columns = (rows) => [
    ["method", "series"], ["attack", "attack"], ["side", "side"], ["epoch", "epoch"], ["value", "value"], ["AUC", "auc"],
    ["from", "low"], ["to", "high"], ["perplexity", "perplexity"],
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
      const parameters = parametersOf(held.figures[name]);
      for (const [what, value] of Object.entries(at(name)))
        if (parameters.has(`pick_${what}`)) embedded.view.signal(`pick_${what}`, value);
      embedded.view.description(described(name));
      await embedded.view.runAsync();
      await narrowed(embedded.view, box);
      caption(name, box);
    }
    listed();
  };

  // ---- switches
  // Not every attack is measured by every metric: what was picked last stays, and the other goes to the first that fits.
  const measured = new Map();
  for (const p of held.data.points || []) {
    if (!p.attack) continue;
    if (!measured.has(p.attack)) measured.set(p.attack, new Set());
    measured.get(p.attack).add(p.metric);
  }
  const fit = (what) => {
    const has = (attack, metric) => (measured.get(attack) || new Set()).has(metric);
    if (!measured.size || has(picked.attack, picked.metric)) return;
    if (what === "metric") picked.attack = held.attacks.find((a) => has(a, picked.metric)) || picked.attack;
    else picked.metric = held.metrics.find((m) => has(picked.attack, m)) || picked.metric;
  };
  const settle = (changed) => {
    fit(changed);
    const panel = panelOf(state.data, state.base) || held.panels.find((p) => p.data === state.data);
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
      settle(what);
      await update();
    });
  }

  // ---- records
  const place = document.getElementById("records-list");
  const order = { by: "share", down: true, most: 25 };
  const share = (value) => (value === null ? "" : `${(value / 10).toFixed(1)} %`);
  const cellNow = () => {
    const method = document.getElementById("records-method");
    const there = held.records.filter((c) => c.panel === picked.panel);
    const names = [...new Set(there.map((c) => c.series))];
    const wanted = names.includes(method.value) ? method.value : names[0];
    method.replaceChildren(...names.map((n) => make("option", n, { value: n })));
    if (wanted !== undefined) method.value = wanted;
    return there.find((c) => c.series === wanted && (picked.seed === "" ? c.first : c.seed === picked.seed));
  };
  const listed = () => {
    if (!place) return;
    const cell = cellNow();
    const note = document.getElementById("records-note");
    if (!cell) {
      place.replaceChildren();
      note.textContent = "No scores are kept for this selection.";
      return;
    }
    const attack = picked.attack in cell.scores ? picked.attack : Object.keys(cell.scores)[0];
    const at = Math.max(0, cell.epochs.indexOf(Math.min(picked.epoch, cell.epochs[cell.epochs.length - 1])));
    const sought = document.getElementById("records-filter").value.toLowerCase();
    const found = cell.ids
      .map((id, i) => ({ id, i, share: cell.shares[attack][i][at], score: cell.scores[attack][i][at] }))
      .filter((r) => r.id.toLowerCase().includes(sought));
    found.sort((a, b) => {
      const [x, y] = [a[order.by], b[order.by]];
      const sign = x < y ? -1 : x > y ? 1 : 0;
      return (order.down ? -sign : sign) || b.score - a.score;
    });
    const said = `${found.length} of the ${cell.ids.length} most exposed of ${cell.members} members; ${attack}, epoch ${cell.epochs[at]}${held.seeds.length > 1 ? `, seed ${cell.seed}` : ""}.`;
    note.textContent = cell.leaks ? said : `${said} This method is not shown to leak: the order is then no more than chance.`;
    const made = make("table", null, { class: "records" });
    const head = made.createTHead().insertRow();
    for (const [title, by] of [["record", "id"], ["non-members below", "share"], ["score", "score"]]) {
      const cellHead = make("th", null, { scope: "col", "aria-sort": order.by === by ? (order.down ? "descending" : "ascending") : "none" });
      const button = make("button", title, { type: "button", "data-sort": by });
      button.addEventListener("click", () => {
        order.down = order.by === by ? !order.down : by !== "id";
        order.by = by;
        listed();
        place.querySelector(`[data-sort="${by}"]`).focus();
      });
      cellHead.append(button);
      head.append(cellHead);
    }
    head.append(make("th", "more", { scope: "col" }));
    const body = made.createTBody();
    for (const record of found.slice(0, order.most)) {
      const line = body.insertRow();
      const named = make("th", null, { scope: "row" });
      named.append(make("bdi", record.id));
      line.append(named, make("td", share(record.share), { class: "flush" }), make("td", exact(record.score), { class: "flush" }));
      const button = make("button", "all scores", { type: "button", "aria-expanded": "false", "aria-label": `all scores of ${record.id}` });
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!open));
        if (open) line.nextElementSibling.remove();
        else line.after(drilled(cell, record));
      });
      const last = make("td");
      last.append(button);
      line.append(last);
    }
    place.replaceChildren(made);
    const more = document.getElementById("records-more");
    more.hidden = found.length <= order.most;
  };
  const drilled = (cell, record) => {
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
    wide.append(make("p", "Share of non-members that score below this record; small: the score.", { class: "note" }), scroll);
    const read = cell.texts[record.i];
    if (read) wide.append(tokens(record, read));
    line.append(wide);
    return line;
  };
  const tokens = (record, read) => {
    const box = make("div", null, { class: "tokens", dir: "auto", tabindex: "0", role: "region", "aria-label": `text of ${record.id}` });
    read.pieces.forEach((piece, i) => {
      const span = make("span", piece, { class: read.masked.includes(i) ? "token masked" : "token" });
      if (read.tuned) {
        const gain = read.base ? read.tuned[i] - read.base[i] : 0;
        span.style.setProperty("--gain", Math.max(0, Math.min(1, gain / 6)).toFixed(2));
        span.title = [`tuned ${exact(-read.tuned[i])} nats`, read.base ? `base ${exact(-read.base[i])} nats` : ""].filter((x) => x).join(", ");
      }
      box.append(span);
    });
    const holder = make("div");
    const how = read.tuned && read.base ? "The text as the model read it, token by token; the darker, the less it surprises the tuned model against its base (6 nats or more: darkest)." : "The text.";
    holder.append(make("p", `${how} ${read.note}`, { class: "note" }), box);
    return holder;
  };
  if (place) {
    document.getElementById("records-method").addEventListener("change", listed);
    document.getElementById("records-filter").addEventListener("input", listed);
    document.getElementById("records-more").addEventListener("click", () => {
      order.most += 100;
      listed();
    });
  }

  // ---- light and dark
  const button = document.getElementById("theme");
  const dress = (name) => {
    root.dataset.theme = name;
    button.setAttribute("aria-pressed", String(name === "dark"));
  };
  dress(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  button.hidden = false;
  button.addEventListener("click", async () => {
    dress(dark() ? "light" : "dark");
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
  settle();
  await redraw();
  listed();
  root.dataset.ready = "true";
})();
