// The results on the page: made of text and pictures only, whatever names and captions hold.

export const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

export const thumbnail = (id, side) => `api/thumbnail/${encodeURIComponent(id)}?side=${side}`;

// Signs that end a line or turn its direction are shown as their numbers, as in the terminal: a name cannot pose as another.
export const plain = (text) => text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
  (sign) => `\\u${sign.codePointAt(0).toString(16).padStart(4, "0")}`);

const nameOf = (path) => path.split(/[\\/]/).pop() || path;
export const hasPhoto = (row) => row.kind === "image" || row.photo !== undefined;

// The last two folders of a path, which tell photos of one name apart.
const folderOf = (path) => path.split(/[\\/]/).slice(0, -1).slice(-2).join("/");

export const picture = (row, side) => {
  const gone = () => make("span", { className: "none", textContent: row.missing ? "No longer there" : "Cannot be shown" });
  if (row.missing) return gone();
  const image = make("img", { alt: plain(nameOf(row.photo ?? row.path)), decoding: "async", loading: "lazy" });
  image.addEventListener("error", async () => {
    const answer = await fetch(image.src, { cache: "no-store" }).catch(() => null);
    row.missing = answer?.status === 404;
    image.replaceWith(gone());
  });
  image.src = thumbnail(row.id, side);
  return image;
};

export const content = (row, side) => [
  ...(hasPhoto(row) ? [picture(row, side)] : []),
  ...(row.text === undefined ? [] : [make("q", { textContent: plain(row.text) })]),
];

const dateOf = (row) => row.taken?.slice(0, 10) ?? (row.modified ? `(${row.modified.slice(0, 10)})` : "");
const copiesOf = (row) => (row.copies ? `+${row.copies} identical` : "");

export const facts = (row, bits) => [
  `Result ${row.rank}`,
  row.distance === null ? "" : `${row.distance} of ${bits} bits differ`,
  row.taken ? `taken ${row.taken.replace("T", " ")} (${row.date_from})` : row.modified ? `changed ${row.modified.replace("T", " ")}` : "",
  row.latitude === undefined ? "" : `at ${row.latitude.toFixed(5)}, ${row.longitude.toFixed(5)}`,
  row.words ? `holds ${row.words.join(", ")}` : "",
  copiesOf(row),
].filter(Boolean).join(" · ");

export const name = (row) => plain(nameOf(row.path)) + (row.line === undefined ? "" : `:${row.line}`);

export const card = (row, number) => {
  const button = make("button", { type: "button", className: "open", tabIndex: -1 }, ...content(row, 320));
  const about = make("p", { className: "facts", id: `facts-${number}` },
    make("span", { className: "rank", textContent: row.rank }), " ",
    [row.distance === null ? "" : `${row.distance} bits`, dateOf(row), copiesOf(row), ...(row.words ?? [])].filter(Boolean).join(" · "));
  button.setAttribute("aria-label", row.text === undefined ? name(row) : plain(row.text));
  button.setAttribute("aria-describedby", about.id);
  const item = make("li", {}, button,
    make("p", { className: "name", title: plain(row.path), textContent: name(row) }),
    make("p", { className: "facts folder", title: plain(row.path), textContent: plain(folderOf(row.path)) }), about);
  if (hasPhoto(row)) {
    const pick = make("input", { type: "checkbox", className: "pick", tabIndex: -1 });
    pick.setAttribute("aria-label", `Select ${name(row)}`);
    item.append(pick);
  }
  return item;
};
