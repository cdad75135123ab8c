// The models in the panel: which one answers, and when.

import { choose, choice, isLive, model, runChosen, setLive } from "./chosen_model.js";
import { button, element, field, options, section } from "./elements.js";
import { cancel, forget, running, takesPoints } from "./models.js";
import * as points from "./points.js";
import { ready, state } from "./state.js";

export function models() {
  const select = element("select", { onchange: () => choose(select.value) });
  const purpose = element("p", { className: "note" });
  const live = element("input", { type: "checkbox", onchange: () => setLive(live.checked) });
  const liveField = field("Run at each click", live);
  const run = button("Run", runChosen, { title: "Run the model (Enter)" });
  const clear = button("Clear points", clearPoints, { title: "Delete this label's points" });
  const progress = element("p", { className: "progress", role: "status" });
  const stop = button("Cancel", cancel);
  const work = element("div", { className: "row" }, progress, stop);

  function update() {
    const now = model();
    const usable = Boolean(now && ready());
    options(select, state.models.map(({ name, trained }) => [name, trained === false ? `${name} (untrained)` : name]), now?.name);
    purpose.textContent = now ? about(now) : "The server has no model.";
    live.checked = isLive();
    liveField.hidden = clear.hidden = !now || !takesPoints(now);
    for (const each of [select, live, run, clear]) each.disabled = !usable;
    work.hidden = !running.abort;
    progress.textContent = running.text;
  }
  const part = section("Model", select, purpose, liveField, element("div", { className: "row" }, run, clear), work);
  select.setAttribute("aria-label", "Model");
  return { part, update };
}

/** The next point begins another nodule: what the last answer painted stays. */
function clearPoints() {
  points.clear(state.map.activeSegment);
  forget(state.map.activeSegment);
}

/** What it is for, and what is to be thought of its answers. */
function about({ purpose, description, trained }) {
  const untrained = trained === false ? " It is not trained yet: its answers mean nothing." : "";
  return `${purpose ?? description ?? ""}${untrained}`;
}
