// Putting texts on the page. Texts of strangers become text nodes, never HTML.

export const $ = (id) => document.getElementById(id);

// Only what has changed is touched, so that focus, selection and screen readers are left in peace.
export function put(element, text, kind) {
  if (element.textContent !== text) element.textContent = text;
  if (kind !== undefined && element.dataset.kind !== kind) {
    element.classList.remove(element.dataset.kind || "-");
    element.dataset.kind = kind;
    if (kind) element.classList.add(kind);
  }
}

export function make(tag, kind, text = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
}

// Keep one child for each item, by its key (a key that comes twice is told apart); `fill` puts the item into it.
export function children(parent, items, key, create, fill) {
  const seen = new Map();
  const names = items.map((item, index) => {
    const name = String(key(item, index));
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return `${name} ${seen.get(name)}`;
  });
  // What goes goes first: an element that is moved would lose the focus.
  for (const child of [...parent.children].filter((child) => !names.includes(child.dataset.key))) {
    const focused = child.contains(document.activeElement);
    child.remove();
    if (focused) parent.closest("section").querySelector("h2").focus();
  }
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const child = old.get(names[index]) ?? create();
    child.dataset.key = names[index];
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
    fill(child, item);
  });
}

// Cells are texts, [text, kind], or {label, of, off, press} for a button.
export function rows(id, items, key, cells) {
  const heads = [...$(id).closest("table").tHead.rows[0].cells].map((head) => head.textContent);
  const create = () => {
    const row = make("tr");
    row.setAttribute("role", "row");
    for (const head of heads) {
      const cell = row.insertCell();
      cell.setAttribute("role", "cell");
      cell.dataset.head = head;
    }
    return row;
  };
  children($(id), items, key, create, (row, item) => cells(item).forEach((value, index) => fillCell(row.cells[index], value)));
  $(`no-${id}`).hidden = items.length > 0;
}

function fillCell(cell, value) {
  if (typeof value === "string") put(cell, value);
  else if (Array.isArray(value)) put(cell, ...value);
  else {
    const button = cell.firstElementChild ?? cell.appendChild(make("button"));
    button.type = "button";
    put(button, value.label);
    button.setAttribute("aria-label", `${value.label} ${value.of}`);
    // Not `disabled`: that would take the focus away from who has just pressed it.
    button.setAttribute("aria-disabled", String(value.off));
    button.onclick = value.off ? null : value.press;
  }
}
