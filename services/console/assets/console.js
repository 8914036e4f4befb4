// Keeps a live page up to date: fetches it again and puts its main element in place of the old one.
"use strict";

const refreshMilliseconds = 1000;
const live = document.querySelector("main").hasAttribute("data-live");

// Nothing is taken from under someone who types or selects.
function busy() {
  const typing = document.activeElement?.matches("input, select, textarea");
  return document.hidden || typing || !getSelection().isCollapsed;
}

async function refresh() {
  if (busy()) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [old, fresh] = [document.querySelector("main"), page.querySelector("main")];
    document.getElementById("lost").hidden = Boolean(fresh);
    if (!fresh || fresh.innerHTML === old.innerHTML || busy()) return;
    const focused = document.activeElement?.getAttribute("href");
    old.replaceChildren(...fresh.childNodes);
    if (focused) old.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  } catch {
    document.getElementById("lost").hidden = false;
  }
}

async function keepFresh() {
  await refresh();
  setTimeout(keepFresh, refreshMilliseconds);
}

if (live) setTimeout(keepFresh, refreshMilliseconds);
