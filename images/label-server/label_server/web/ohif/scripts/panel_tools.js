// The tools in the panel: what the mouse does in the views.

import { choose, chosen, copySlice, fill, isBrush, range, resize, THRESHOLDS, TOOLS } from "./editing.js";
import { button, element, field, number, options, section } from "./elements.js";
import { ohif, ready } from "./state.js";
import { firstName, setWindow, WINDOWS } from "./windows.js";

export function tools() {
  const buttons = Object.entries(TOOLS).map(([name, { title, key }]) =>
    button(title, () => choose(name), { value: name, title: `${title} (key ${key})` }),
  );
  const size = element("input", { type: "range", min: 1, max: 30, step: 0.5, oninput: () => resize(Number(size.value)) });
  const sizeText = element("output");
  const preset = element("select", { onchange: () => range(preset.value) });
  const window = element("select", { onchange: () => setWindow(ohif, window.value) });
  const run = name => () => ohif.commandsManager.run(name);
  const edits = [
    button("Undo", run("undo"), { title: "Undo (Ctrl+Z)" }),
    button("Redo", run("redo"), { title: "Redo (Ctrl+Y)" }),
    button("Copy slice", copySlice, { title: "Copy the label from the slice beside (key P)" }),
    button("Fill between", fill, { title: "Fill the slices between those that are painted (key M)" }),
  ];
  const brush = element("div", {}, field("Diameter", size), sizeText);
  const threshold = field("Paints", preset);
  options(preset, Object.entries(THRESHOLDS).map(([name, [low, high]]) => [name, `${name}: ${low} to ${high} HU`]));
  options(window, Object.keys(WINDOWS).map(name => [name, name]), firstName());

  function update() {
    const alive = ready();
    for (const each of buttons) {
      each.setAttribute("aria-pressed", chosen.tool === each.value);
      each.disabled = !alive && each.value !== "window";
    }
    for (const each of edits) each.disabled = !alive;
    size.value = chosen.diameter;
    sizeText.textContent = `${number(chosen.diameter)} mm`;
    brush.hidden = !isBrush();
    threshold.hidden = chosen.tool !== "threshold";
    preset.value = chosen.threshold;
    window.value = firstName();
  }
  const part = section(
    "Tools",
    element("div", { className: "grid" }, ...buttons),
    brush,
    threshold,
    element("div", { className: "grid" }, ...edits),
    field("Window", window),
  );
  return { part, update };
}
