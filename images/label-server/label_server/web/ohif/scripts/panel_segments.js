// The labels of the CT in the panel: which one is painted, how large each is.

import { color } from "./label_map.js";
import { empty, segment } from "./editing.js";
import { button, element, number, section } from "./elements.js";
import { ready, state } from "./state.js";

export function segments() {
  const list = element("ul", { className: "segments" });
  let shown = "";

  function rows() {
    if (shown === String(state.names)) return;
    shown = String(state.names);
    list.replaceChildren(...state.names.map((name, place) => row(name, place + 1)));
  }

  function update() {
    rows();
    const alive = ready();
    [...list.children].forEach((item, place) => {
      const [pick, size, bin] = item.children;
      const found = alive && state.measures.of(place + 1);
      pick.setAttribute("aria-pressed", alive && state.map.activeSegment === place + 1);
      pick.disabled = !alive;
      size.textContent = found ? `${number(found.diameter)} mm, ${number(found.volume, 2)} ml` : "empty";
      bin.disabled = !found;
    });
  }
  return { part: section("Labels", list), update };
}

function row(name, index) {
  const swatch = element("span", { className: "swatch", "aria-hidden": "true" });
  swatch.style.background = color(index);
  const pick = button("", () => segment(index), { className: "pick", title: `Paint ${name} (key ${index}); again: go to it` });
  pick.append(swatch, name);
  return element(
    "li",
    {},
    pick,
    element("span", { className: "size" }),
    button("Empty", () => empty(index), { className: "small", "aria-label": `Empty ${name}` }),
  );
}
