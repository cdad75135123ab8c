// Training a model from the panel, for admins.

import { model } from "./chosen_model.js";
import { button, element, section } from "./elements.js";
import { refresh } from "./labelling.js";
import * as server from "./server.js";
import { say, state } from "./state.js";

const ASK_AGAIN = 5000; // milliseconds

export function training() {
  const start = button("Train this model", begin);
  const runs = element("p", { className: "note", role: "status" });
  let following = false;
  let asked = false;

  async function begin() {
    try {
      await server.train(model().name);
      say(`${model().name} is trained on all labels. You can label meanwhile.`);
      follow(true);
    } catch (error) {
      say(`The training does not start: ${error.message}`, "error");
    }
  }

  /** Say that a training runs until it has ended. */
  async function follow(ended = false) {
    following = true;
    const running = await server.trainings().catch(() => []);
    start.disabled = running.length > 0;
    runs.textContent = running.map(({ model: name, epoch, epochs }) => `${name}: epoch ${epoch} of ${epochs}`).join(", ");
    if (running.length) return setTimeout(() => follow(true), ASK_AGAIN);
    following = false;
    return ended && refresh(); // it may have made a model better
  }

  function update() {
    part.hidden = state.role !== "admin";
    if (!following) start.disabled = !model();
    if (part.hidden || asked) return;
    asked = true;
    follow();
  }
  const part = section("Training", start, runs);
  return { part, update };
}
