
"use strict";
(() => {
  const find = (selector) => document.querySelector(selector);
  const cards = [...document.querySelectorAll(".open")];
  const view = find("#view");
  const help = find("#help");
  const stage = find("#stage");
  let current = 0;

  // Tab stops at one card of all; the arrows choose which.
  const choose = (index) => {
    cards[current].tabIndex = -1;
    current = Math.max(0, Math.min(index, cards.length - 1));
    cards[current].tabIndex = 0;
  };

  const goTo = (index) => {
    choose(index);
    if (view.open) fillView();
    else cards[current].focus();
  };

  const fileLink = () => cards[current].parentElement.querySelector(".name a");

  // The card above or below: of the nearest other row, the one whose middle is closest.
  const inNextRow = (step) => {
    const middle = (box) => box.left + box.width / 2;
    const here = cards[current].getBoundingClientRect();
    let [best, closest, row] = [current, Infinity, null];
    for (let i = current + step; i >= 0 && i < cards.length; i += step) {
      const box = cards[i].getBoundingClientRect();
      const top = cards[i].parentElement.getBoundingClientRect().top;
      if (top === cards[current].parentElement.getBoundingClientRect().top) continue;
      row ??= top;
      if (top !== row) break;
      const distance = Math.abs(middle(box) - middle(here));
      if (distance < closest) [best, closest] = [i, distance];
    }
    return best;
  };

  const ofNextQuery = () => {
    const here = cards[current].closest("section");
    return Math.max(0, cards.findIndex((card, i) => i > current && card.closest("section") !== here));
  };

  const fillView = () => {
    const card = cards[current];
    stage.replaceChildren(...[...card.children].map((part) => part.cloneNode(true)));
    for (const image of stage.querySelectorAll("img")) {
      image.loading = "eager";
      // More would only blur it, as any enlargement does of a photo that has no more pixels.
      image.style.width = `${image.getAttribute("width") * ("whole" in image.dataset ? 1 : 1.75)}px`;
      image.style.height = "auto";
    }
    find("#view-name").textContent = fileLink().textContent;
    find("#view-query").textContent = card.closest("section").getAttribute("aria-label");
    find("#view-facts").textContent = card.dataset.facts;
    find("#view-path").textContent = card.dataset.shown;
    find("#original").href = fileLink().href;
    find("#previous").disabled = current === 0;
    find("#next").disabled = current === cards.length - 1;
  };

  const openView = (index) => {
    choose(index);
    fillView();
    view.showModal();
    stage.focus();
  };

  let silence;
  const say = (words) => {
    const place = find(view.open ? "#view .said" : "body > .said");
    place.textContent = words;
    clearTimeout(silence);
    silence = setTimeout(() => { place.textContent = ""; }, 2500);
  };

  const copyPath = async () => {
    try {
      await navigator.clipboard.writeText(cards[current].dataset.path);
      say("Path copied");
    } catch {
      say("The browser does not let this page copy");
    }
  };

  const themes = ["auto", "light", "dark"];
  const setTheme = (theme) => {
    document.documentElement.dataset.theme = theme;
    find("#theme").textContent = `Theme: ${theme}`;
  };

  const left = () => goTo(current - 1);
  const right = () => goTo(current + 1);
  const up = () => goTo(view.open ? current - 1 : inNextRow(-1));
  const down = () => goTo(view.open ? current + 1 : inNextRow(1));
  const arrows = [left, right, up, down];
  const keys = {
    ArrowLeft: left, ArrowRight: right, ArrowUp: up, ArrowDown: down, h: left, l: right, k: up, j: down,
    Home: () => goTo(0),
    End: () => goTo(cards.length - 1),
    "/": () => goTo(ofNextQuery()),
    o: () => fileLink().click(),
    c: copyPath,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const focused = cards.indexOf(document.activeElement);
    if (event.key === "?") help.showModal();
    else if (!cards.length || !Object.hasOwn(keys, event.key)) return;
    else {
      if (focused >= 0) choose(focused);
      // From elsewhere, the first arrow only shows where one is.
      if (focused < 0 && !view.open && arrows.includes(keys[event.key])) goTo(current);
      else keys[event.key]();
    }
    event.preventDefault();
  });

  cards.forEach((card, index) => {
    card.tabIndex = index ? -1 : 0;
    card.addEventListener("click", () => openView(index));
  });
  view.addEventListener("close", () => cards[current].focus());
  view.addEventListener("click", (event) => { if (event.target === view || event.target === stage) view.close(); });
  find("#previous").addEventListener("click", left);
  find("#next").addEventListener("click", right);
  find("#copy").addEventListener("click", copyPath);
  find("#close").addEventListener("click", () => view.close());
  find("#keys").addEventListener("click", () => help.showModal());
  find("#theme").addEventListener("click", () => {
    setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length]);
  });
  find(".tools").hidden = false;

  let touched = null;
  stage.addEventListener("touchstart", (event) => { touched = event.touches.length === 1 ? event.touches[0].clientX : null; }, { passive: true });
  stage.addEventListener("touchend", (event) => {
    if (touched === null) return;
    const moved = event.changedTouches[0].clientX - touched;
    if (Math.abs(moved) > 50) goTo(current + (moved < 0 ? 1 : -1));
  });
})();
