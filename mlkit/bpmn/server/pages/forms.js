// A form whose fields depend on others is sent when one changes, and what comes back replaces it.
// Without scripts its button "Update the form" does the same.
"use strict";
function follow() {
  const form = document.querySelector("form[data-dynamic]");
  if (!form) return;
  const button = form.querySelector("[data-update]");
  button.hidden = true;
  form.addEventListener("change", async () => {
    const body = new FormData(form, button);
    const answer = await fetch(form.action, { method: "POST", body });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("form[data-dynamic]");
    if (!next) return;
    const focused = document.activeElement ? document.activeElement.id : "";
    form.replaceWith(next);
    if (focused) document.getElementById(focused)?.focus();
    follow();
  });
}
follow();
