// When something changes, the page is fetched again and its parts are replaced, so that a page shows
// the same with scripts as after a reload without them. Boxes that select all are offered here too.
"use strict";
function follow(root) {
  const pause = Number(root.dataset.pause);
  let busy = false;
  let stale = false;
  async function refresh() {
    if (document.hidden || busy) { stale = true; return; }
    busy = true;
    stale = false;
    try {
      const answer = await fetch(location.href.split("#")[0], { headers: { accept: "text/html" } });
      if (answer.redirected) { location.reload(); return; } // The session is over.
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch (error) {
      stale = true;
    }
    setTimeout(() => { busy = false; if (stale) refresh(); }, pause);
  }
  // A browser has few connections to a host: pages that nobody sees keep none.
  let events = null;
  function watch() {
    if (document.hidden) { events?.close(); events = null; return; }
    if (events) return;
    events = new EventSource(root.dataset.live);
    events.addEventListener("changed", refresh);
    events.addEventListener("open", refresh);
  }
  document.addEventListener("visibilitychange", watch);
  addEventListener("pagehide", () => { events?.close(); events = null; });
  addEventListener("pageshow", watch);
  watch();
}
function replace(next) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const fresh = next.getElementById(part.id);
    if (!fresh) continue;
    if (part.tagName === "IMG") {
      if (part.getAttribute("src") !== fresh.getAttribute("src")) part.src = fresh.getAttribute("src");
    } else if (!isTyping(part) && part.innerHTML !== fresh.innerHTML) {
      exchange(part, fresh);
    }
  }
}
// What somebody fills in is not taken from under their hands.
function isTyping(part) {
  const changed = [...part.querySelectorAll("input, textarea")].some((each) => each.value !== each.defaultValue);
  const active = part.contains(document.activeElement) ? document.activeElement.tagName : "";
  return changed || ["INPUT", "TEXTAREA", "SELECT"].includes(active);
}
function exchange(part, fresh) {
  const open = [...part.querySelectorAll("details[open]")].map((each) => each.id);
  const read = new Map([...part.querySelectorAll("[data-tail]")].map((each) => [each.id, placeIn(each)]));
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  for (const each of fresh.querySelectorAll("details")) each.open = open.includes(each.id);
  part.replaceChildren(...fresh.childNodes);
  for (const each of part.querySelectorAll("[data-tail]")) each.scrollTop = read.get(each.id) ?? each.scrollHeight;
  if (focused) document.getElementById(focused)?.focus();
}
// Who reads the end of a log goes on to read its end; who has scrolled up stays there.
function placeIn(log) {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 4;
  return isAtEnd ? undefined : log.scrollTop;
}
function offerAll(form) {
  const all = form.querySelector("[data-all]");
  if (!all) return;
  all.closest("label").hidden = false;
  const boxes = [...form.querySelectorAll("[name=incident]")];
  all.addEventListener("change", () => { for (const each of boxes) each.checked = all.checked; });
  form.addEventListener("change", () => { all.checked = boxes.every((each) => each.checked); });
}
// The log of an attempt that runs is opened at its end.
document.addEventListener("toggle", (event) => {
  if (event.target.matches("[data-runs][open]"))
    for (const each of event.target.querySelectorAll("[data-tail]")) each.scrollTop = each.scrollHeight;
}, true);
document.querySelectorAll("[data-live]").forEach(follow);
document.querySelectorAll("[data-select]").forEach(offerAll);
