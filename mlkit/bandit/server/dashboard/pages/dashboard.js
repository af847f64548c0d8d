// The dashboard: it draws what GET /overview answers, whenever /overview/events reports a change.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const DASH = "\u2013";
  const is = (value) => value !== null && value !== undefined;
  const number = (value, most = 0) => is(value)
    ? value.toLocaleString("en", { maximumFractionDigits: most }) : DASH;
  const exact = (value) => is(value) ? value.toLocaleString("en", { maximumSignificantDigits: 4 }) : DASH;
  const percent = (value) => is(value)
    ? `${(100 * value).toLocaleString("en", { maximumFractionDigits: value < 0.01 ? 2 : 1 })} %` : DASH;
  const duration = (seconds) => {
    if (!is(seconds)) return DASH;
    if (seconds < 1e-3) return `${number(1e6 * seconds)} µs`;
    return seconds < 1 ? `${number(1e3 * seconds, 2)} ms` : `${number(seconds, 2)} s`;
  };
  const age = (seconds) => {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const [name, size] = units.find((each) => seconds >= each[1]) || units[3];
    return `${number(seconds / size, seconds / size < 10 && size > 1 ? 1 : 0)} ${name}`;
  };
  const clock = (seconds) => new Date(1000 * seconds).toLocaleTimeString("en-GB");

  // Elements

  const SVG = "http://www.w3.org/2000/svg";
  const element = (name, text, attributes = {}, space = "") => {
    const made = space ? document.createElementNS(space, name) : document.createElement(name);
    if (is(text)) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const fill = (id, children) => at(id).replaceChildren(...children);
  const cell = (content, kind = "") => {
    const made = element("td", null, kind ? { class: kind } : {});
    made.append(content);
    return made;
  };
  const row = (...cells) => { const made = element("tr"); made.append(...cells); return made; };
  const heading = (text) => element("th", text, { scope: "row" });
  const named = (text) => element("th", text, { scope: "row", class: "name", title: text });
  const drawing = (kind, label, shapes) => {
    const svg = element("svg", null, { class: kind, viewBox: "0 0 100 10", preserveAspectRatio: "none",
      role: "img", "aria-label": label }, SVG);
    svg.append(...shapes.map(([name, attributes]) => element(name, null, attributes, SVG)));
    return svg;
  };

  // Arms

  const band = (arm, low, high) => {
    const x = (value) => 100 * Math.max(0, Math.min(1, (value - low) / (high - low || 1)));
    const shapes = [["line", { class: "track", x1: 0, x2: 100, y1: 5, y2: 5 }]];
    if (is(arm.low)) {
      const width = Math.max(0.4, x(arm.high) - x(arm.low));
      shapes.push(["rect", { class: "inside", x: x(arm.low), width, y: 1.5, height: 7, rx: 0.5 }]);
    }
    if (is(arm.mean)) shapes.push(["line", { class: "mean", x1: x(arm.mean), x2: x(arm.mean), y1: 0, y2: 10 }]);
    const label = is(arm.low) ? `${exact(arm.low)} to ${exact(arm.high)}` : "no interval";
    const svg = drawing("band", label, shapes);
    svg.append(element("title", label, {}, SVG));
    return svg;
  };
  const share = (value) => {
    const made = element("span", null, { class: "share" });
    if (!is(value)) { made.textContent = DASH; return made; }
    made.append(drawing("part", percent(value), [
      ["rect", { class: "track", x: 0, width: 100, y: 0, height: 10 }],
      ["rect", { class: "part", x: 0, width: 100 * value, y: 0, height: 10 }]]), percent(value));
    return made;
  };
  const showArms = (arms) => {
    const lows = arms.arms.flatMap((each) => is(each.low) ? [each.low] : is(each.mean) ? [each.mean] : []);
    const highs = arms.arms.flatMap((each) => is(each.high) ? [each.high] : is(each.mean) ? [each.mean] : []);
    const low = Math.min(0, ...lows);
    const high = Math.max(...highs, low);
    at("axis").textContent = lows.length ? `${exact(low)} to ${exact(high)}` : "";
    const observed = arms.arms.some((each) => each.observed);
    const kind = observed ? "of the mean reward since the start" : "of the posterior";
    const most = arms.total > arms.arms.length ? `The best ${arms.arms.length} of ${number(arms.total)} arms. ` : "";
    at("arms-hint").textContent = `${most}Bands are intervals of ${percent(arms.level)} ${kind}. ` +
      `Shares as shown are those of ${number(arms.sampled)} decisions.`;
    fill("arms", arms.arms.map((each) => row(named(each.arm), cell(band(each, low, high)),
      cell(exact(each.mean), "number"), cell(number(each.pulls), "number"), cell(share(each.first)),
      cell(share(each.shown)))));
  };

  // Charts

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const charts = {};
  const axis = () => ({ stroke: color("--muted"), grid: { stroke: color("--edge"), width: 1 },
    ticks: { stroke: color("--edge"), width: 1 } });
  const draw = (id, height, labels, data) => {
    const host = at(id);
    if (charts[id]) { charts[id].setData(data); return; }
    const strokes = ["--accent", "--muted"].map(color);
    charts[id] = new uPlot({
      width: host.clientWidth, height, fmtDate: isoMoments, scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), (high || 0) * 1.1 || 1] } },
      series: [{}, ...labels.map((label, place) => ({ label, stroke: strokes[place], width: 2 - place,
        dash: place ? [5, 4] : undefined, spanGaps: true, value: (_, value) => exact(value) }))],
      axes: [axis(), { ...axis(), size: 64, values: (_, values) => values.map(exact) }],
    }, data, host);
  };
  // Sums up to uneven times become changes in even steps.
  const steps = (history) => {
    const { times, decisions, events, rewards } = history;
    const last = times.length - 1;
    const count = Math.min(48, last);
    const found = { times: [], decisions: [], events: [], rewards: [], length: 0 };
    if (count < 1) return found;
    found.length = (times[last] - times[0]) / count;
    let place = 0;
    const value = (column, time) => {
      const width = times[place + 1] - times[place];
      const part = width > 0 ? (time - times[place]) / width : 1;
      return column[place] + part * (column[place + 1] - column[place]);
    };
    let before = [decisions[0], events[0], rewards[0]];
    for (let step = 1; step <= count; step += 1) {
      const time = times[0] + step * found.length;
      while (place < last - 1 && times[place + 1] < time) place += 1;
      const now = [decisions, events, rewards].map((column) => value(column, time));
      found.times.push(time);
      ["decisions", "events", "rewards"].forEach((name, index) => found[name].push(now[index] - before[index]));
      before = now;
    }
    return found;
  };
  const ratio = (above, below) => above.map((value, place) => below[place] > 1e-9 ? value / below[place] : null);
  const clear = () => { for (const id of Object.keys(charts)) { charts[id].destroy(); delete charts[id]; } };
  // The rewards of a fleet are those of all hosts, its decisions those of this one: no ratio of them means anything.
  let drawnInFleet = false;
  const showHistory = ({ history, fleet }) => {
    const inFleet = Boolean(fleet);
    if (inFleet !== drawnInFleet) { clear(); drawnInFleet = inFleet; }
    const found = steps(history);
    if (!found.times.length) return;
    const means = { "mean of those received": ratio(found.rewards, found.events) };
    const rewards = inFleet ? means : { "per decision": ratio(found.rewards, found.decisions), ...means };
    draw("rewards", 220, Object.keys(rewards), [found.times, ...Object.values(rewards)]);
    const each = (column) => column.map((value) => value / found.length);
    const traffic = inFleet ? ["decisions of this host", "rewards of the fleet"] : ["decisions", "rewards received"];
    draw("traffic", 150, traffic, [found.times, each(found.decisions), each(found.events)]);
  };
  const redraw = () => {
    clear();
    if (shown) showHistory(shown);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });

  // The rest

  const rate = (history) => {
    const last = history.times.length - 1;
    if (last < 1) return null;
    const first = Math.max(0, history.times.findIndex((time) => time >= history.times[last] - 10) - 1);
    const length = history.times[last] - history.times[first];
    return length > 0 ? (history.decisions[last] - history.decisions[first]) / length : null;
  };
  const showFigures = (seen) => {
    const { history } = seen;
    const rewards = history.rewards.at(-1) || 0;
    const events = history.events.at(-1) || 0;
    const [every, mean, below] = seen.fleet ? ["rewards of the fleet", "mean reward", events]
      : ["rewards", "reward per decision", seen.decisions];
    const pairs = [["decisions", number(seen.decisions)], ["decisions per second", number(rate(history), 1)],
      [every, number(events)], [mean, exact(below ? rewards / below : null)],
      ["arms", number(seen.arms.total)], ["candidates scored", number(seen.scored)],
      ["up for", age(seen.uptime)], ["workers", `${seen.workers}${seen.restarts ? `, ${seen.restarts} restarts` : ""}`]];
    fill("figures", pairs.map(([name, value]) => {
      const box = element("div");
      box.append(element("dt", name), element("dd", value));
      return box;
    }));
  };
  const showVersions = (versions) => {
    at("versions").hidden = !versions;
    if (!versions) return;
    const better = versions.p !== null && versions.p <= 0.05 ? "" : ", which may be chance";
    at("versions-text").textContent = `The candidate answers ${percent(versions.share)} of users. ` + (is(versions.difference)
      ? `It earns ${exact(Math.abs(versions.difference))} ${versions.difference < 0 ? "less" : "more"} per decision` +
        (is(versions.p) ? ` (p = ${exact(versions.p)}${better}).` : ".") : "There is nothing to compare yet.");
    fill("versions-rows", [["stable", versions.stable], ["candidate", versions.candidate]].map(([name, each]) =>
      row(heading(name), cell(each.model), cell(each.policy), cell(number(each.decisions), "number"),
        cell(number(each.rewards, 1), "number"),
        cell(exact(each.mean) + (is(each.error) ? ` \u00b1 ${exact(each.error)}` : ""), "number"))));
  };
  // A host reports once a second: one that is silent for ten is away, or without the store.
  const SILENT = 10;
  const lagOf = (host) => host.age > SILENT ? "silent" : host.behind || !is(host.stale) || host.stale > SILENT ? "behind" : "current";
  const showFleet = (fleet, now) => {
    at("fleet").hidden = !fleet;
    if (!fleet) return;
    const current = fleet.hosts.filter((each) => lagOf(each) === "current").length;
    at("fleet-text").textContent = now - fleet.at > SILENT
      ? `The store of ${fleet.name} has not answered since ${clock(fleet.at)}: these are the last reports.`
      : `${number(current)} of ${number(fleet.hosts.length)} hosts of ${fleet.name} have all that the fleet has learned.`;
    fill("fleet-rows", fleet.hosts.map((each) => row(heading(each.is_this ? `${each.host} (this one)` : each.host),
      cell(lagOf(each), lagOf(each) === "current" ? "good" : "bad"), cell(number(each.entries), "number"),
      cell(number(each.behind), "number"), cell(is(each.stale) ? `${age(each.stale + each.age)} ago` : "not yet", "number"),
      cell(number(each.queued), "number"), cell(`${age(each.age)} ago`, "number"))));
  };
  const showStages = (stages) => fill("stages", stages.filter((each) => each.count).map((each) => row(heading(each.stage),
    cell(duration(each.mean), "number"), cell(duration(each.p50), "number"), cell(duration(each.p99), "number"),
    cell(number(each.count), "number"))));
  const showCheck = (check) => {
    const text = at("check");
    at("check-table").hidden = !check.decisions;
    text.className = "";
    if (!check.decisions) {
      text.textContent = check.share ? "No decision has been checked yet."
        : "Propensities are not computed. --log DIR --propensities 0.05 computes, logs and checks those of one decision in twenty.";
      return;
    }
    const fits = check.p > 0.001;
    text.className = fits ? "good" : "bad";
    text.textContent = `${fits ? "What is shown fits the propensities" : "What is shown does not fit the propensities"}: ` +
      `p = ${exact(check.p)}, of ${number(check.decisions)} decisions.`;
    fill("bins", check.bins.filter((each) => each.expected || each.shown).map((each) =>
      row(heading(`${percent(each.low)} to ${percent(each.high)}`), cell(number(each.expected, 1), "number"),
        cell(number(each.shown), "number"), cell(number(each.z, 2), "number"))));
  };
  const showDrift = (drift) => {
    at("drift-table").hidden = !drift.arms.length;
    at("drift").textContent = drift.compared
      ? `${number(drift.changed)} of ${number(drift.compared)} arms changed since ${clock(drift.since)} (q at most 0.05).`
      : "There are not yet rewards of an arm from both before and recently.";
    fill("drifting", drift.arms.map((each) => row(named(each.arm), cell(exact(each.old), "number"),
      cell(exact(each.recent), "number"), cell(`${number(each.old_rewards)} / ${number(each.recent_rewards)}`, "number"),
      cell(exact(each.q), each.q !== null && each.q <= 0.05 ? "number bad" : "number"))));
  };

  // Live

  let shown = null;
  const show = (seen) => {
    shown = seen;
    document.title = `${seen.model} \u2013 mlkit bandit`;
    at("content").hidden = false;
    at("model").textContent = seen.model || "mlkit bandit";
    at("policy").textContent = seen.policy;
    showFigures(seen);
    showArms(seen.arms);
    showHistory(seen);
    showVersions(seen.versions);
    showFleet(seen.fleet, seen.at);
    showStages(seen.stages);
    showCheck(seen.propensities);
    showDrift(seen.drift);
    at("state").textContent = `As of ${clock(seen.at)}.`;
  };
  const TOKEN = "mlkit-bandit-token";
  const secured = at("login").dataset.secured === "yes";
  const ask = (path, options = {}) => {
    const token = sessionStorage.getItem(TOKEN);
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    return fetch(path, { ...options, headers });
  };
  const logIn = (text) => {
    sessionStorage.removeItem(TOKEN);
    at("login").hidden = false;
    at("content").hidden = true;
    at("state").textContent = text;
  };
  let busy = false;
  let again = false;
  const update = async () => {
    if (busy || document.hidden) { again = true; return; }
    busy = true;
    again = false;
    try {
      const answer = await ask("overview");
      if (answer.status === 401 || answer.status === 403) { logIn("The server does not take this token."); return; }
      if (answer.ok) show(await answer.json());
      else at("state").textContent = (await answer.json()).error;
    } catch (error) {
      at("state").textContent = "The server does not answer.";
    } finally {
      busy = false;
    }
    if (again) setTimeout(update, 500);
  };
  // By fetch, since an EventSource cannot send a token.
  let following = null;
  const follow = async () => {
    if (document.hidden || following || (secured && !sessionStorage.getItem(TOKEN))) return;
    const mine = following = new AbortController();
    await update();
    if (secured && !sessionStorage.getItem(TOKEN)) { following = null; return; }
    try {
      const answer = await ask("overview/events", { signal: mine.signal });
      if (answer.ok) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          if (part.value.includes("event: changed")) update();
        }
      }
    } catch (error) {
      if (!mine.signal.aborted) at("state").textContent = "The server does not answer.";
    }
    if (following === mine) {
      following = null;
      setTimeout(follow, 2000);
    }
  };
  // Pages that nobody sees keep no connection.
  const pause = () => { if (following) following.abort(); following = null; };
  document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); else follow(); });
  addEventListener("pagehide", pause);
  addEventListener("pageshow", follow);
  at("login").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, at("token").value);
    at("token").value = "";
    at("login").hidden = true;
    pause();
    follow();
  });
  if (secured && sessionStorage.getItem(TOKEN)) at("login").hidden = true;
  follow();
})();
