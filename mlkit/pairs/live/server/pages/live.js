// The page of a live run: it draws what /status, /curves, /records and /pair say, whenever /events
// reports a change, and sends commands after a question.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const dash = "\u2013";
  const number = (value, digits = 2) => value === null || value === undefined ? dash
    : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits,
      signDisplay: "negative" }); // zero has no sign
  const percent = (value) => value === null || value === undefined ? dash : number(100 * value) + " %";
  const time = (text) => (text || dash).replace("T00:00:00Z", "").replace("T", " ").replace("Z", "");

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const fill = (id, children) => at(id).replaceChildren(...children);
  const row = (cells) => {
    const made = element("tr");
    made.append(...cells.map((each) => {
      if (each instanceof Node) { const cell = element("td"); cell.append(each); return cell; }
      return element("td", each);
    }));
    return made;
  };
  const figures = (id, pairs) => fill(id, pairs.map(([name, value]) => {
    const box = element("div");
    box.append(element("dt", name), element("dd", value));
    return box;
  }));
  const get = async (path) => {
    const answer = await fetch(path, { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };

  // Charts

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const charts = {};
  const axis = (values) => ({ stroke: color("--muted"), grid: { stroke: color("--edge"), width: 1 },
    ticks: { stroke: color("--edge"), width: 1 }, ...(values ? { values, size: 70 } : {}) });
  const draw = (id, label, data, options = {}) => {
    const host = at(id);
    if (!data[0].length) return;
    const old = charts[id];
    if (old && old.label === label) { old.plot.setData(data, old.followed()); return; }
    if (old) old.plot.destroy();
    let zoomed = false;
    const plot = new uPlot({
      width: host.clientWidth, height: options.height || 220, fmtDate: isoMoments,
      series: [{}, { label, stroke: color("--accent"), width: 1.5, fill: options.fill,
        value: (_, value) => options.percent ? percent(value) : number(value) }, ...(options.more || [])],
      axes: [axis(), axis((_, values) => values.map((value) =>
        options.percent ? number(100 * value, 1) + " %" : value.toLocaleString("en")))],
      hooks: {
        setSelect: [(each) => { zoomed = each.select.width > 0; }],
        ...(options.hooks || {}),
      },
    }, data, host);
    host.addEventListener("dblclick", () => { zoomed = false; });
    charts[id] = { plot, label, followed: () => !zoomed };
  };
  const redraw = () => {
    for (const id of Object.keys(charts)) { charts[id].plot.destroy(); delete charts[id]; }
    update();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 200); });

  // A pair

  let chosen = "";
  let bands = null;
  const showPair = async () => {
    if (!chosen) return;
    let found;
    try { found = await get("pair?name=" + encodeURIComponent(chosen)); } catch { return; }
    at("pair-panel").hidden = false;
    at("pair-title").textContent = chosen;
    const level = (value) => found.times.map(() => value);
    const dots = found.times.map(() => null);
    for (const each of found.fills) {
      const place = found.times.findLastIndex((moment) => moment <= each.at);
      if (place >= 0) dots[place] = found.values[place];
    }
    const line = (label, name) => ({ label, stroke: color(name), width: 1, dash: [4, 4] });
    const entry = bands ? bands.entry : null;
    const exit = bands ? bands.exit : null;
    draw("pair", "z-score of " + chosen,
      [found.times, found.values, level(entry), level(entry === null ? null : -entry),
        level(exit), level(exit === null ? null : -exit), dots],
      { height: 260, more: [line("entry", "--muted"), line("entry", "--muted"), line("exit", "--edge"),
        line("exit", "--edge"),
        { label: "fills", stroke: color("--text"), paths: () => null,
          points: { show: true, size: 8, fill: color("--text") } }] });
  };

  const scale = (z, limits) => {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const most = Math.max(4, 1.25 * (limits.stop || limits.entry));
    const x = (value) => 50 + 50 * Math.max(-1, Math.min(1, value / most));
    const add = (name, attributes) => {
      const made = document.createElementNS(space, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      svg.append(made);
    };
    svg.setAttribute("viewBox", "0 0 100 10");
    svg.setAttribute("class", "scale");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `z-score ${number(z)}, entry at ${limits.entry}`);
    add("line", { x1: 0, x2: 100, y1: 5, y2: 5, class: "mid" });
    for (const value of [-limits.entry, limits.entry, -limits.exit, limits.exit]) {
      add("line", { x1: x(value), x2: x(value), y1: 1, y2: 9, class: "band" });
    }
    if (z !== null) add("circle", { cx: x(z), cy: 5, r: 3, class: "now" });
    return svg;
  };

  const pairRow = (pair) => {
    const open = element("button", pair.pair, { type: "button", class: "link" });
    open.addEventListener("click", () => {
      chosen = pair.pair;
      bands = pair.bands;
      showPair();
    });
    const legs = pair.legs ? pair.legs.map((leg) =>
      `${number(leg.shares)} ${leg.ticker} @ ${number(leg.entry)}`).join(", ") : dash;
    const commands = element("span");
    const which = pair.paused ? ["resume"] : ["pause", "flatten"];
    commands.append(...which.map((name) => {
      const button = element("button", name, { type: "button", "aria-label": `${name} ${pair.pair}` });
      button.addEventListener("click", () => ask(name, pair.pair));
      return button;
    }));
    return row([open, number(pair.features.z), scale(pair.features.z, pair.bands), legs,
      pair.legs ? number(pair.gross) : dash, pair.legs ? number(pair.result) : dash, commands]);
  };

  // Everything

  const showStatus = (status) => {
    const account = status.account || {};
    const runs = status.runs || status.status === "finished" ? "" : ", and no process runs it";
    const blocks = (status.blocks || []).length ? `; no new positions (${status.blocks.join(", ")})` : "";
    at("state").textContent = status.status + runs + blocks;
    at("feed").textContent = status.feed || "";
    figures("figures", [["time", time(status.time)], ["bars", number(status.bars || 0, 0)],
      ["equity", number(account.equity)], ["cash", number(account.cash)],
      ["gross exposure", number(account.gross)], ["drawdown", percent(status.drawdown)],
      ["today", percent(status.daily_loss === undefined ? null : -status.daily_loss)],
      ["pairs", number(status.pair_count || 0, 0)]]);
    fill("pairs", (status.pairs || []).map(pairRow));
    if ((status.candidates || []).length) {
      fill("candidates", status.candidates.map((each) => row([`${each.y}/${each.x}`,
        number(each.correlation, 3), number(each.distance, 4), number(each.zscore), number(each.crossings, 1)])));
    }
    if ((status.limits || []).length) {
      fill("limits", status.limits.map((each) => {
        const line = element("p");
        const meter = element("meter", null, { min: 0, max: each.bound, value: Math.max(0, each.value),
          high: 0.8 * each.bound, "aria-label": each.limit });
        line.append(`${each.limit} `, meter,
          ` ${number(each.value, 4)} of ${number(each.bound, 4)}: ${each.action}`);
        return line;
      }));
    }
    if ((status.statements || []).length) {
      fill("statements", status.statements.flatMap((day) =>
        [element("a", day, { href: "statement?day=" + day, download: `statement-${day}.html` }), " "]));
    }
    showJobs(status.jobs || []);
    const feeds = status.feeds || { records: {}, rejected: {}, lags: {}, gaps: {}, halted: [] };
    const worst = Object.entries(feeds.lags)[0];
    const holes = Object.entries(feeds.gaps)[0];
    figures("feeds", [...Object.entries(feeds.records), ...Object.entries(feeds.rejected)]
      .map(([name, count]) => [name.replace("_", " "), number(count, 0)]).concat([
        ["greatest lag", worst ? `${worst[0]}: ${number(worst[1], 1)} s` : dash],
        ["most gaps", holes ? `${holes[0]}: ${holes[1]}` : dash],
        ["halted", feeds.halted.length ? feeds.halted.join(", ") : "none"]]));
  };
  const showJobs = (jobs) => {
    if (!jobs.length) return;
    const name = (job) => `${job.job} (${job.pid})`;
    const state = (job) => job.runs || ["ended", "stopped"].includes(job.state) ? job.state : "killed";
    fill("jobs", jobs.map((job) => row([name(job), state(job), job.inputs.join(", "), job.output,
      number(job.records, 0), number(job.written, 0), number(job.behind, 0), number(job.restarts, 0)])));
    const open = new Set([...document.querySelectorAll("#job-logs details[open]")].map((each) => each.dataset.job));
    fill("job-logs", jobs.filter((job) => job.log.length).map((job) => {
      const made = element("details", null, { "data-job": name(job) });
      made.open = open.has(name(job));
      made.append(element("summary", `Log of ${name(job)}`), element("pre", job.log.join("\n")));
      return made;
    }));
  };
  const showRecords = (records) => {
    fill("fills", records.fills.map((each) => row([time(each.time), each.name, each.id,
      Object.entries(each.shares).map(([name, shares]) =>
        `${number(shares)} ${name} @ ${number(each.prices[name])}`).join(", "), each.reason || "entry"])));
    fill("orders", records.orders.map((each) => row([time(each.time), each.name, each.id, each.status])));
    fill("events", records.events.map((each) => {
      const { time: moment, kind, ...rest } = each;
      const what = Object.entries(rest).filter(([, value]) => value !== null && value !== "")
        .map(([name, value]) => `${name} ${typeof value === "number" ? number(value, 4) : value}`).join(", ");
      return row([time(moment), kind.replace("_", " "), what]);
    }));
  };
  let busy = false;
  let again = false;
  const update = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const [status, curves, records] = await Promise.all([get("status"), get("curves"), get("records")]);
      showStatus(status);
      showRecords(records);
      draw("equity", "equity", [curves.times, curves.equity]);
      draw("drawdown", "drawdown", [curves.times, curves.drawdown], { height: 130, percent: true });
      await showPair();
    } catch (error) {
      at("state").textContent = "the server does not answer";
    }
    busy = false;
    if (again) { again = false; setTimeout(update, 100); }
  };

  // Commands

  const questions = {
    pause: "Open no new positions?", resume: "Trade again?",
    flatten: "Close the positions at the next bar, and open no new ones?",
    kill: "Cancel what waits and end the run? Positions stay as they are.",
  };
  let asked = null;
  const ask = (command, pair = "") => {
    asked = { command, pair };
    at("question").textContent = (pair ? `${pair}: ` : "") + questions[command];
    at("confirmed").textContent = command[0].toUpperCase() + command.slice(1);
    at("confirm").showModal();
  };
  at("confirm").addEventListener("close", async () => {
    if (at("confirm").returnValue !== "yes" || !asked) return;
    const answer = await fetch("commands", { method: "POST", body: JSON.stringify(asked),
      headers: { "content-type": "application/json" } });
    if (!answer.ok) at("state").textContent = (await answer.json()).error || "refused";
    update();
  });
  for (const button of document.querySelectorAll("[data-command]")) {
    button.addEventListener("click", () => ask(button.dataset.command));
  }

  const source = new EventSource("events");
  source.addEventListener("changed", update);
  source.onopen = update;
  source.onerror = () => { at("state").textContent = "the run's page has ended"; };
})();
