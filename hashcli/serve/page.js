// The page: a query, which is in its address too, and its results.
import { card, hasPhoto, make, thumbnail } from "./cards.js";
import * as viewer from "./viewer.js";

const find = (selector) => document.querySelector(selector);
const [words, without, file] = [find("#words"), find("#without"), find("#file")];
const PART = 60; // results that are fetched together
// Cards in one list: the browser lays out only those in sight. With up to eight columns, the last row is full.
const LIST = 840;
const STEPS = [PART, 1000, 5000, 10000]; // of how many results the server makes a list
const PAUSE = 120; // milliseconds without a key before a search
const COUNT_PAUSE = 300; // and before the results are counted
const DUPLICATE = 0.1; // the share of bits in which near-duplicates differ at most

let query = new URLSearchParams(location.search); // by the names of the parameters of api/search
let rows = [];
let current = 0;
let indexes = []; // what api/info says of them
let list = null; // { step, total, isWhole } of the results shown
let asking = new AbortController();
let isAsking = false;
const selection = new Map(); // paths, by ids

// --- asking the server ---

const request = async (address, options = {}) => {
  const answer = await fetch(address, options);
  if (answer.ok) return answer;
  const { error, remedy } = await answer.json();
  throw new Error([error, remedy].filter(Boolean).join(" "));
};
const ask = async (...asked) => (await request(...asked)).json();

const found = (more) => {
  const asked = new URLSearchParams(query);
  for (const [name, value] of Object.entries(more)) asked.set(name, value);
  return ask(`api/search?${asked}`, { signal: asking.signal });
};

// Wait, unless another search begins.
const pause = (milliseconds) => {
  const { signal } = asking;
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    setTimeout(resolve, milliseconds);
  });
};

const learn = async () => { ({ indexes } = await ask("api/info")); showIndexes(); };
const indexName = () => query.get("index") || indexes[0]?.name;
const index = () => indexes.find((one) => one.name === indexName());
const bits = () => index()?.bits; // of a code

const isEmpty = () => !query.get("text") && !query.has("image");
const isBoth = () => query.get("for") === "both";

const search = async () => {
  asking.abort();
  const mine = new AbortController();
  asking = mine;
  isAsking = true;
  find("#far").hidden = true;
  find("#near").hidden = !query.has("max_distance");
  document.title = query.get("text") ? `${query.get("text")} – hashcli` : "hashcli";
  try {
    if (isEmpty() || !bits()) await learn();
    if (mine !== asking) return undefined;
    if (isEmpty()) return clear(welcome());
    // By date, the order depends on how many results there are; of both kinds, each has results of its own.
    const step = isBoth() || query.get("sort") === "date" ? 1 : 0;
    const answer = await found({ k: isBoth() ? 200 : STEPS[step], count: isBoth() ? 400 : PART });
    clear("");
    list = { step, total: answer.total, isWhole: isBoth() || answer.total < STEPS[step] };
    append(answer.results);
    tell(answer);
    await pause(COUNT_PAUSE); // while somebody types, nothing is counted
    const counted = await found({ k: STEPS[1], count: 0, facets: true });
    count(counted);
    list.isWhole = isBoth() || counted.total < STEPS[1];
    list.step = 1;
    list.total = isBoth() ? list.total : counted.total;
    tell({ ...answer, total: list.total });
  } catch (error) {
    if (mine === asking) clear(error.message); // else another search has taken its place
    return undefined;
  } finally {
    if (mine === asking) isAsking = false; // else another search is under way
  }
  return fill();
};

// Fetch more results while the end of the page is in sight.
const fill = async () => {
  const end = find("#more").getBoundingClientRect().top;
  if (isAsking || !list || end > 2 * innerHeight) return;
  if (rows.length >= list.total) {
    if (list.isWhole || list.step === STEPS.length - 1 || query.get("sort") === "date") return;
    list.step += 1;
  }
  const mine = asking;
  isAsking = true;
  try {
    const answer = await found({ k: STEPS[list.step], offset: rows.length, count: PART });
    Object.assign(list, { total: answer.total, isWhole: answer.total < STEPS[list.step] });
    append(answer.results);
    tell(answer);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
    return;
  } finally {
    if (mine === asking) isAsking = false; // else another search is under way
  }
  requestAnimationFrame(fill);
};

const welcome = () => {
  const { error, photos, texts } = index() ?? { error: "There is no index of this name." };
  return error ?? `${photos.toLocaleString()} photos and ${texts.toLocaleString()} texts. Describe a photo in English, or drop one here.`;
};

// --- showing results ---

const clear = (message) => {
  rows = [];
  list = null;
  current = 0;
  for (const id of ["photos", "texts"]) {
    find(`#${id}`).replaceChildren();
    find(`#${id}`).parentElement.hidden = true;
  }
  find("main").classList.toggle("both", isBoth());
  find("#status").textContent = message;
};

const append = (more) => {
  for (const row of more) {
    const place = find(row.kind === "image" ? "#photos" : "#texts");
    place.parentElement.hidden = false;
    if (!place.lastChild || place.lastChild.childElementCount === LIST) {
      place.append(make("ol", { className: row.kind === "image" ? "cards" : "cards texts" }));
    }
    place.lastChild.append(card(row, rows.length));
    const pick = place.lastChild.lastChild.querySelector(".pick");
    if (pick) pick.checked = selection.has(row.id);
    rows.push(row);
  }
  if (rows.length) choose(current);
};

const REASONS = {
  too_far: (answer) => `Nothing is near enough: the nearest differs in ${answer.nearest_distance} of ${bits()} bits.`,
  filtered: () => "Nothing matches the filters.",
  no_items: () => "The index holds nothing of this kind.",
  no_known_words: () => "The model knows none of these words.",
  no_words: () => "No photo that the filters leave holds these words.",
};

const tell = (answer) => {
  const least = list.isWhole || query.get("sort") === "date" ? "" : "At least ";
  const number = answer.total === 1 ? "1 result" : `${answer.total.toLocaleString()} results`;
  const unknown = answer.unknown_words.length ? ` Not known to the model: ${answer.unknown_words.join(", ")}.` : "";
  const order = query.get("sort") === "date" ? " The newest of the best come first." : ` The distance is how many of ${bits()} bits differ; the order follows a finer score.`;
  find("#status").textContent = (answer.total ? `${least}${number}.${order}` : REASONS[answer.why_none]?.(answer) ?? "Nothing was found.") + unknown;
  find("#far").hidden = answer.why_none !== "too_far" || query.has("max_distance");
};

let silence;
const say = (message) => {
  const place = find(viewer.isOpen() ? "#view .said" : "body > .said");
  place.textContent = message;
  clearTimeout(silence);
  silence = setTimeout(() => { place.textContent = ""; }, Math.max(3000, 80 * message.length)); // time to read it
};

// --- the query: in the address, in the controls ---

let changed = 0; // when
const change = (values, { isTyping = false } = {}) => {
  for (const [name, value] of Object.entries(values)) {
    query.delete(name);
    for (const one of [value].flat()) if (one) query.append(name, one);
  }
  const isMore = isTyping && Date.now() - changed < 2000; // words that are being typed are one step back
  history[isMore ? "replaceState" : "pushState"](null, "", `?${query}`);
  changed = isTyping ? Date.now() : 0;
  fillControls();
  search();
};

const yearAfter = (year) => String(Number(year) + 1).padStart(4, "0");
const firstDay = (date) => date + ({ 4: "-01-01", 7: "-01" }[date.length] ?? ""); // of a year or month

const fillControls = () => {
  for (const [input, value] of [[words, query.get("text") ?? ""], [without, query.get("not") ?? ""]]) {
    if (input.value.trim() !== value) input.value = value;
  }
  find("#for").value = query.get("for") ?? "photos";
  find("#sort").value = query.get("sort") ?? "rank";
  showIndexes();
  const [after, before] = [query.get("after") ?? "", query.get("before") ?? ""];
  const year = /^\d{4}$/.test(after) && before === yearAfter(after) ? after : "";
  choice("#year", "Any year", year);
  choice("#folder", "Any folder", query.get("in") ?? "");
  choice("#type", "Any type", query.get("type") ?? "");
  find("#after").value = year ? "" : firstDay(after);
  find("#before").value = year ? "" : firstDay(before);
  find("#examples").replaceChildren(...query.getAll("image").map((id) => {
    const remove = make("button", { type: "button", textContent: "✕", title: "Do not search by this photo" });
    remove.setAttribute("aria-label", "Do not search by this photo");
    remove.addEventListener("click", () => {
      change({ image: query.getAll("image").filter((other) => other !== id), max_distance: "", all_copies: "" });
      words.focus();
    });
    return make("li", {}, make("img", { src: thumbnail(id, 320), alt: "A photo searched by" }), remove);
  }));
};

const showIndexes = () => {
  find("#index").hidden = indexes.length < 2;
  find("#index").replaceChildren(...indexes.map(({ name }) => make("option", { value: name, textContent: name })));
  find("#index").value = indexName() ?? "";
};

// A list to choose from: all, what is chosen, and the values that results have, each with their number.
const choice = (selector, all, chosen, counts = []) => {
  const isCounted = counts.some(([value]) => value === chosen);
  const shown = (value) => (selector === "#folder" ? value.split(/[\\/]/).slice(-2).join("/") : value);
  const options = [...(chosen && !isCounted ? [[chosen, 0]] : []), ...counts].map(([value, number]) => make("option", {
    value, title: value, textContent: shown(value) + (number ? ` (${number.toLocaleString()})` : ""),
  }));
  find(selector).replaceChildren(make("option", { value: "", textContent: all }), ...options);
  find(selector).value = chosen;
};

const count = ({ facets: { years, folders, types } }) => {
  const newestFirst = Object.entries(years).sort(([one], [other]) => other.localeCompare(one));
  choice("#year", "Any year", find("#year").value, newestFirst);
  choice("#folder", "Any folder", find("#folder").value, Object.entries(folders));
  choice("#type", "Any type", find("#type").value, Object.entries(types));
};

const searchBy = async (photo) => {
  if (!photo) return;
  say("Reading the photo …");
  try {
    const index = query.has("index") ? `?index=${encodeURIComponent(query.get("index"))}` : "";
    const { id } = await ask(`api/upload${index}`, { method: "POST", body: photo });
    say("");
    change({ image: id, max_distance: "", all_copies: "" });
  } catch (error) {
    say(error.message);
  }
};

// --- the result that is chosen ---

const cards = () => document.querySelectorAll(".open");

// Tab stops at one card of all; the arrows choose which.
const choose = (at) => {
  const all = cards();
  if (all[current]) all[current].tabIndex = -1;
  current = Math.max(0, Math.min(at, rows.length - 1));
  all[current].tabIndex = 0;
  return all[current];
};

const goTo = (at) => {
  if (!rows.length) return;
  const chosen = choose(at);
  if (viewer.isOpen()) look();
  else chosen.focus();
  if (current > rows.length - 10) fill();
};

const look = () => {
  const row = rows[current];
  viewer.show(rows, current, { bits: bits(), query: find("#words").value, selected: selection.has(row.id) });
};

// The card above or below: of the nearest other row, the one whose middle is closest.
const inNextRow = (step) => {
  const [all, middle] = [cards(), (box) => box.left + box.width / 2];
  const here = all[current].getBoundingClientRect();
  const top = (at) => all[at].parentElement.getBoundingClientRect().top;
  let [best, closest, row] = [current, Infinity, null];
  for (let at = current + step; at >= 0 && at < all.length; at += step) {
    if (top(at) === top(current)) continue;
    row ??= top(at);
    if (top(at) !== row) break;
    const distance = Math.abs(middle(all[at].getBoundingClientRect()) - middle(here));
    if (distance < closest) [best, closest] = [at, distance];
  }
  return best;
};

const like = (more) => {
  const row = rows[current];
  if (!row || !hasPhoto(row)) return;
  viewer.close();
  change({ text: "", not: "", image: row.id, for: "", all: "", max_distance: "", all_copies: "", ...more });
  scrollTo(0, 0);
};
const likeThis = () => like({});
const captions = () => like({ for: "texts" });
const duplicates = () => like({ max_distance: String(Math.round(DUPLICATE * bits())), all_copies: "true" });

const select = (at = current) => {
  const pick = cards()[at]?.parentElement.querySelector(".pick");
  if (!pick) return;
  const { id, path, photo } = rows[at];
  if (!selection.delete(id)) selection.set(id, photo ?? path);
  pick.checked = selection.has(id);
  if (viewer.isOpen()) look();
  showSelection();
};

const showSelection = () => {
  find("#selection").hidden = !selection.size;
  document.body.classList.toggle("selecting", selection.size > 0);
  find("#selected").textContent = `${selection.size.toLocaleString()} selected`;
};

const copyPath = async () => {
  try {
    await navigator.clipboard.writeText(rows[current].path);
    say("Path copied");
  } catch {
    say("The browser does not let this page copy");
  }
};

const saveZip = async () => {
  const ids = [...selection.keys()];
  const trial = new AbortController();
  try {
    // A form that is answered with an error would leave the page, so we look at the answer first.
    await request("api/zip", { method: "POST", body: new URLSearchParams(ids.map((id) => ["id", id])), signal: trial.signal });
  } catch (error) {
    say(error.message);
    return;
  } finally {
    trial.abort(); // the zip itself is received by the form, which writes it to disk as it comes
  }
  const form = make("form", { method: "post", action: "api/zip", hidden: true },
    ...ids.map((id) => make("input", { type: "hidden", name: "id", value: id })));
  document.body.append(form);
  form.submit();
  form.remove();
};

const saveList = () => {
  const text = [...new Set(selection.values())].map((path) => `${path}\n`).join("");
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: "photos.txt" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

// --- what a person does ---

let typing;
for (const [input, name] of [[words, "text"], [without, "not"]]) {
  input.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ [name]: input.value.trim(), all: "" }, { isTyping: true }), PAUSE);
  });
}
find("#search").addEventListener("submit", (event) => { event.preventDefault(); goTo(0); });
for (const [id, name] of [["for", "for"], ["sort", "sort"], ["folder", "in"], ["type", "type"], ["after", "after"], ["before", "before"]]) {
  find(`#${id}`).addEventListener("change", (event) => change({ [name]: event.target.value }));
}
find("#year").addEventListener("change", ({ target: { value } }) => {
  change({ after: value, before: value && yearAfter(value) });
});
find("#index").addEventListener("change", ({ target: { value } }) => {
  change({ index: value, image: "", in: "", max_distance: "", all_copies: "" });
});
find("#all").addEventListener("click", () => change({ all: "true" }));
find("#no-near").addEventListener("click", () => change({ max_distance: "", all_copies: "" }));
find("#pick").addEventListener("click", () => file.click());
file.addEventListener("change", () => { searchBy(file.files[0]); file.value = ""; });
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) { event.preventDefault(); searchBy(event.clipboardData.files[0]); }
});
document.addEventListener("dragover", (event) => { event.preventDefault(); find("#drop").hidden = false; });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) find("#drop").hidden = true; });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("#drop").hidden = true;
  if (event.dataTransfer.files.length) searchBy(event.dataTransfer.files[0]);
  else say("Only a file can be dropped here");
});
find("main").addEventListener("click", (event) => {
  const at = [...cards()].indexOf(event.target.closest("li")?.querySelector(".open"));
  if (at < 0) return;
  if (event.target.matches(".pick")) { event.target.checked = !event.target.checked; select(at); }
  else if (event.target.closest(".open")) { choose(at); look(); }
});
viewer.listen((step) => goTo(current + step), () => cards()[current]?.focus());
const buttons = {
  like: likeThis, captions, duplicates, select: () => select(), copy: copyPath, zip: saveZip, list: saveList,
  keys: () => find("#help").showModal(),
  clear: () => {
    selection.clear();
    for (const pick of document.querySelectorAll(".pick")) pick.checked = false;
    showSelection();
  },
};
for (const [id, action] of Object.entries(buttons)) find(`#${id}`).addEventListener("click", action);

const [left, right] = [() => goTo(current - 1), () => goTo(current + 1)];
const up = () => (viewer.isOpen() ? left() : inNextRow(-1) === current ? words.focus() : goTo(inNextRow(-1)));
const down = () => (viewer.isOpen() ? right() : goTo(inNextRow(1)));
const arrows = [left, right, up, down];
const keys = {
  ArrowLeft: left, ArrowRight: right, ArrowUp: up, ArrowDown: down, h: left, l: right, k: up, j: down,
  Home: () => goTo(0), End: () => goTo(rows.length - 1),
  x: () => select(), m: likeThis, t: captions, d: duplicates, c: copyPath,
  o: () => { if (hasPhoto(rows[current])) open(`api/photo/${encodeURIComponent(rows[current].id)}`, "_blank", "noopener"); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || find("#help").open) return;
  if (event.target.matches("input:not(.pick), select")) {
    if (event.key === "ArrowDown" && event.target.type === "search") { event.preventDefault(); goTo(current); }
    return;
  }
  const focused = [...cards()].indexOf(document.activeElement);
  if (event.key === "?") find("#help").showModal();
  else if (event.key === "/" && !viewer.isOpen()) { words.focus(); words.select(); }
  else if (!rows.length || !Object.hasOwn(keys, event.key)) return;
  else {
    if (focused >= 0) choose(focused);
    // From elsewhere, the first arrow only shows where one is.
    if (focused < 0 && !viewer.isOpen() && arrows.includes(keys[event.key])) goTo(current);
    else keys[event.key]();
  }
  event.preventDefault();
});

const themes = ["auto", "light", "dark"];
const setTheme = (theme) => {
  document.documentElement.dataset.theme = theme;
  find("#theme").textContent = `Theme: ${theme}`;
  localStorage.setItem("theme", theme);
};
find("#theme").addEventListener("click", () => setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
setTheme(themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");

new IntersectionObserver(fill, { rootMargin: "100%" }).observe(find("#more"));
addEventListener("popstate", () => { query = new URLSearchParams(location.search); changed = 0; fillControls(); search(); });
if (words.value.trim()) change({ text: words.value.trim() }, { isTyping: true }); // typed before this script ran
else {
  fillControls();
  search();
}
