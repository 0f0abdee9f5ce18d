// Follows /events and puts cells where they belong; carries the buttons' wishes to the API. It formats nothing but times, and
// sets every text as text: what a stranger wrote into a symbol or a reason can never become markup.

const STALE_MS = 4000; // a page that has heard nothing for this long must not go on looking green
const ATTRIBUTES = new Set(["data-tone", "data-side", "data-ms", "href", "x", "width", "cx", "aria-label", "hidden"]);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const stored = (key, fallback) => { try { return localStorage.getItem(key) ?? fallback; } catch { return fallback; } };
const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* a private window: only this page forgets */ } };

// -- times ------------------------------------------------------------------------------------------------------------
let zone = stored("zone", "UTC");
const two = (number) => String(number).padStart(2, "0");
function moment(ms) {
  if (!ms) return "";
  const at = new Date(Number(ms));
  const get = (name) => (zone === "UTC" ? at[`getUTC${name}`]() : at[`get${name}`]());
  const day = `${get("FullYear")}-${two(get("Month") + 1)}-${two(get("Date"))}`;
  return `${day} ${two(get("Hours"))}:${two(get("Minutes"))}:${two(get("Seconds"))}`;
}
function showTime(element) {
  element.textContent = moment(element.dataset.ms);
  if (element.dataset.ms) element.setAttribute("datetime", new Date(Number(element.dataset.ms)).toISOString());
}

// -- cells ------------------------------------------------------------------------------------------------------------
function collect(root, own) {
  const cells = new Map();
  for (const element of $$("[data-c]", root)) {
    if (own && element.closest("[data-list]")) continue;
    const name = element.dataset.c;
    cells.set(name, [...(cells.get(name) ?? []), element]);
  }
  return cells;
}
function put(cells, name, text, row) {
  const [key, attribute] = name.split("@");
  for (const element of key === "row" ? [row] : cells.get(key) ?? []) {
    if (!attribute) { if (element.textContent !== text) element.textContent = text; continue; }
    if (!ATTRIBUTES.has(attribute)) continue;
    if (attribute === "hidden") { element.hidden = text !== ""; continue; }
    if (attribute === "href" && !/^\/(?!\/)/.test(text)) continue;
    element.setAttribute(attribute, text);
    if (attribute === "data-ms") showTime(element);
  }
}
class List {
  constructor(root) {
    this.root = root;
    this.template = $("template", root);
    this.rows = new Map($$(":scope > [data-row]", root).map((row) => [row.dataset.row, { row, cells: collect(row) }]));
  }
  make(id) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.dataset.row = id;
    const made = { row, cells: collect(row) };
    this.rows.set(id, made);
    return made;
  }
  apply({ order, rows = {} }) {
    for (const [id, changed] of Object.entries(rows)) {
      const { row, cells } = this.rows.get(id) ?? this.make(id);
      for (const [name, text] of Object.entries(changed)) put(cells, name, text, row);
    }
    if (!order) return;
    const wanted = new Set(order);
    for (const [id, { row }] of this.rows) if (!wanted.has(id)) { row.remove(); this.rows.delete(id); }
    let place = this.root.firstElementChild;
    for (const id of order) {
      const { row } = this.rows.get(id) ?? this.make(id);
      if (row === place) place = place.nextElementSibling;
      else this.root.insertBefore(row, place);
    }
    filter();
  }
}
const page = collect(document.body, true);
const lists = new Map($$("[data-list]").map((root) => [root.dataset.list, new List(root)]));

// -- /events -----------------------------------------------------------------------------------------------------------
let heard = Date.now();
let title = document.title;
let tone = $(".lamp").dataset.tone;
function wear(shownTitle, shownTone) {
  if (document.title !== shownTitle) document.title = shownTitle;
  const href = `/static/favicon-${shownTone}.svg`;
  if ($("#favicon").getAttribute("href") !== href) $("#favicon").setAttribute("href", href);
}
function take(message) {
  heard = Date.now();
  for (const [name, text] of Object.entries(message.cells ?? {})) put(page, name, text);
  for (const [name, change] of Object.entries(message.lists ?? {})) lists.get(name)?.apply(change);
  if (message.cells?.title) title = `${message.cells.title} · Holdfast`;
  tone = message.cells?.["lamp@data-tone"] ?? tone;
  document.body.dataset.beat = message.n;
  online(true);
}
function online(is) {
  document.body.classList.toggle("offline", !is);
  const note = $("#offline");
  if (is) {
    if (!note.hidden) { note.hidden = true; put(page, "lamp@data-tone", tone); }
    wear(title, tone);
  } else {
    const text = `This page is not connected: what it shows is ${Math.round((Date.now() - heard) / 1000)} s old. Trying again.`;
    if (note.textContent !== text) note.textContent = text;
    note.hidden = false;
    put(page, "lamp@data-tone", "bad");
    wear("🔴 not connected · Holdfast", "bad");
  }
}
let source = null;
function connect() {
  source?.close();
  source = new EventSource("/events");
  source.onmessage = (event) => take(JSON.parse(event.data));
}
connect();
setInterval(() => {
  if (Date.now() - heard > STALE_MS) online(false);
  if (source.readyState === EventSource.CLOSED) connect(); // the browser gives up after an error page; we do not
}, 1000);
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) connect(); });

// -- preferences ---------------------------------------------------------------------------------------------------------
const themes = ["auto", "dark", "light"];
function theme(name) {
  document.documentElement.dataset.theme = name;
  $("#theme").textContent = name[0].toUpperCase() + name.slice(1);
  store("theme", name);
}
theme(themes.includes(stored("theme", "auto")) ? stored("theme", "auto") : "auto");
$("#theme").addEventListener("click", () => theme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
function times() { $("#zone").textContent = zone === "UTC" ? "UTC" : "Local"; $$("time[data-ms]").forEach(showTime); }
$("#zone").addEventListener("click", () => { zone = zone === "UTC" ? "local" : "UTC"; store("zone", zone); times(); });
times();

function filter() {
  const words = ($("#filter")?.value ?? "").trim().toLowerCase();
  const list = lists.get("positions");
  if (!list) return;
  for (const { row } of list.rows.values()) row.hidden = words !== "" && !row.textContent.toLowerCase().includes(words);
}
$("#filter")?.addEventListener("input", filter);
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing && $("#filter")) { event.preventDefault(); $("#filter").focus(); }
});

// -- wishes ------------------------------------------------------------------------------------------------------------------
const csrf = $("meta[name=csrf]").content;
async function post(path, body) {
  const headers = { "content-type": "application/json", "x-csrf-token": csrf };
  try {
    const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(70_000) });
    const told = await reply.json();
    const text = told.text ?? (typeof told.detail === "string" ? told.detail : "that was not understood");
    return { done: reply.ok, text, parts: told.parts ?? [] };
  } catch { return { done: false, text: "no answer from the dashboard; look again before you repeat it", parts: [] }; }
}
let fading = 0;
function toast(text) {
  $("#toast").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { $("#toast").textContent = ""; }, 8000);
}
function open(button) {
  const dialog = $(`#dlg-${button.dataset.open}`), row = button.closest("[data-row]");
  const form = $("form", dialog);
  form.reset();
  $("output", form).textContent = "";
  if (row) {
    $$("[data-fill]", form).forEach((place) => { place.textContent = $(`[data-c="${place.dataset.fill}"]`, row)?.textContent ?? ""; });
    $("[data-id]", form).value = row.dataset.row;
  }
  if (button.dataset.state) $(`[name=state][value=${button.dataset.state}]`, form).checked = true;
  dialog.showModal();
}
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) open(opener);
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
});
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset.action) return;
  event.preventDefault();
  const wish = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  const button = $("[type=submit]", form), output = $("output", form);
  button.disabled = true;
  output.textContent = "Asking the ledger …";
  output.dataset.tone = "";
  const { done, text, parts } = await post(form.dataset.action, wish);
  button.disabled = false;
  output.textContent = [text, ...(parts.length > 1 ? parts.slice(0, 20) : [])].join("\n");
  output.dataset.tone = done ? "good" : "bad";
  if (!done) return;
  toast(text);
  form.closest("dialog")?.close();
  if (!form.closest("dialog")) button.hidden = true;
});
$("#logout")?.addEventListener("click", async () => { await post("/logout", {}); location.assign("/"); });
