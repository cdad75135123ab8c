// Elements of the panel, made without a framework.

/** An element with properties, attributes where the element has no such property, and children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const button = (textContent, onclick, more = {}) => element("button", { type: "button", textContent, onclick, ...more });

/** A part of the panel with a heading. */
export function section(title, ...children) {
  const id = `title-${title.toLowerCase().replaceAll(" ", "-")}`;
  return element("section", { "aria-labelledby": id }, element("h2", { id, textContent: title }), ...children);
}

/** A field with its name before it. */
export const field = (title, control) => element("label", { className: "field" }, element("span", { textContent: title }), control);

/** Options of a select, made anew only if they have changed. */
export function options(select, pairs, value) {
  const wanted = JSON.stringify(pairs);
  if (select.dataset.options !== wanted) {
    select.replaceChildren(...pairs.map(([key, text]) => element("option", { value: key, textContent: text })));
    select.dataset.options = wanted;
  }
  if (value !== undefined) select.value = value;
}

/** A number as this browser's language writes it. */
export const number = (value, digits = 1) =>
  value.toLocaleString([], { minimumFractionDigits: digits, maximumFractionDigits: digits });
