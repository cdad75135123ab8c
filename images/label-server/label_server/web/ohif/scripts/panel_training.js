// Training a model from the panel, for admins.

import { model } from "./chosen_model.js";
import { button, element, section } from "./elements.js";
import { refresh, say, state } from "./labelling.js";
import * as server from "./server.js";

const ASK_AGAIN = 5000; // milliseconds

export function training() {
  const start = button("Train this model", begin);
  const runs = element("p", { className: "note", role: "status" });
  let following = false;

  async function begin() {
    try {
      await server.train(model().name);
      say(`${model().name} is trained on all labels. You can label meanwhile.`);
      follow();
    } catch (error) {
      say(`The training does not start: ${error.message}`, "error");
    }
  }

  /** Say that a training runs until it has ended. */
  async function follow() {
    following = true;
    const running = await server.training().catch(() => null);
    start.disabled = Boolean(running);
    runs.textContent = running ? "A training runs." : "";
    if (running) return setTimeout(follow, ASK_AGAIN);
    following = false;
    return refresh();
  }

  function update() {
    part.hidden = state.role !== "admin";
    if (!following) start.disabled = !model();
  }
  const part = section("Training", start, runs);
  return { part, update };
}
