// Changes what is shown into what the server sends. Makes nothing itself: every part is HTML from our own server.
"use strict";
(() => {
  const main = document.querySelector("[data-events]");
  if (main === null) return;
  const connection = document.getElementById("connection");
  const source = new EventSource(main.dataset.events);

  // An element stays where it can: a click, the focus and a screen reader are on it.
  const change = (old, fresh) => {
    const before = [...old.childNodes];
    const after = [...fresh.childNodes];
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id || before.length !== after.length) {
      const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
      old.replaceWith(fresh);
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    } else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
      for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      before.forEach((child, at) => change(child, after[at]));
    }
  };

  source.addEventListener("parts", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const old = document.getElementById(id);
      const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(id);
      if (old !== null && fresh !== null) change(old, fresh);
    }
    connection.textContent = "Live.";
  });
  source.addEventListener("error", () => {
    connection.textContent = "The connection is lost; it is tried again.";
  });
})();
