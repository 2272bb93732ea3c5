// One result, large, and what can be done with it.
import { content, facts, hasPhoto, make, name, plain, thumbnail } from "./cards.js";

const find = (selector) => document.querySelector(selector);
const view = find("#view");
const stage = find("#stage");

export const isOpen = () => view.open;
export const close = () => view.close();

export const show = (rows, at, { bits, query, selected }) => {
  const row = rows[at];
  const photo = `api/photo/${encodeURIComponent(row.id)}`;
  stage.replaceChildren(...content(row, 1600));
  find("#view-query").textContent = query;
  find("#view-name").textContent = name(row);
  find("#view-facts").textContent = facts(row, bits);
  find("#view-path").textContent = plain(row.path);
  find("#previous").disabled = at === 0;
  find("#next").disabled = at === rows.length - 1;
  find("#select").setAttribute("aria-pressed", selected);
  find("#original").href = photo;
  find("#download").href = `${photo}?download`;
  for (const id of ["like", "captions", "duplicates", "select", "original", "download"]) find(`#${id}`).hidden = !hasPhoto(row);
  if (rows[at + 1]?.kind === "image") make("img").src = thumbnail(rows[at + 1].id, 1600); // so that it is there at once
  if (!view.open) {
    view.showModal();
    stage.focus();
  }
};

// What a swipe to the side, or a click beside the picture, does.
export const listen = (step, onClose) => {
  let touched = null;
  view.addEventListener("close", onClose);
  view.addEventListener("click", (event) => { if (event.target === view || event.target === stage) view.close(); });
  find("#close").addEventListener("click", close);
  find("#previous").addEventListener("click", () => step(-1));
  find("#next").addEventListener("click", () => step(1));
  stage.addEventListener("touchstart", (event) => { touched = event.touches.length === 1 ? event.touches[0].clientX : null; }, { passive: true });
  stage.addEventListener("touchend", (event) => {
    if (touched === null) return;
    const moved = event.changedTouches[0].clientX - touched;
    if (Math.abs(moved) > 50) step(moved < 0 ? 1 : -1);
  });
};
