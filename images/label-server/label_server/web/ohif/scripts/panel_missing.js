// Slices that did not come, in the panel: nothing is shown where they are.

import { button, element } from "./elements.js";
import { loadMissing, missing } from "./missing_slices.js";

export function missingSlices() {
  const text = element("p", { className: "missing" });
  const part = element("section", { role: "alert", "aria-label": "Missing slices", hidden: true }, text, button("Load them", loadMissing));
  function update() {
    const count = missing().length;
    part.hidden = !count;
    if (count) text.textContent = message(count);
  }
  return { part, update };
}

/** What is said of so many slices. */
function message(count) {
  if (count === 1) return "A slice of the CT did not come: what you see there is not the patient.";
  return `${count} slices of the CT did not come: what you see there is not the patient.`;
}
