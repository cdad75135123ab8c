// The review in the panel: what a reviewer thinks of the label that is stored, as MONAI Label Reviewer writes it.

import { button, element, field, options, section } from "./elements.js";
import { say, state } from "./labelling.js";
import * as server from "./server.js";
import { open } from "./worklist.js";

const REVIEWERS = ["reviewer", "admin"];

export function review() {
  const verdict = element("select");
  const level = element("select");
  const comment = element("textarea", { rows: 2, maxLength: 2000 });
  const store = button("Save review", save);
  const onward = button("Next to review", next);
  options(verdict, [["", "not reviewed"], ["approved", "approved"], ["flagged", "flagged: to be corrected"]]);
  options(level, [["", "—"], ["easy", "easy"], ["medium", "medium"], ["hard", "hard"]]);
  let shown = null;

  async function save() {
    const said = { status: verdict.value, level: level.value, comment: comment.value };
    const meta = { ...said, approvedBy: state.user, editTime: Math.floor(Date.now() / 1000) };
    try {
      await server.review(state.image, meta, state.version);
      state.about = { ...state.about, segmentationMeta: meta };
      say(`Review saved: ${verdict.value || "not reviewed"}`, "good");
    } catch (error) {
      say(`The review is not saved: ${error.message}`, "error");
    }
  }

  async function next() {
    try {
      const waiting = (await server.reviews()).find(each => !each.state && each.image !== state.image);
      if (waiting) open(waiting);
      else say("No label waits for a review.");
    } catch (error) {
      say(`The labels to review are not known: ${error.message}`, "error");
    }
  }

  function update() {
    part.hidden = !REVIEWERS.includes(state.role);
    store.disabled = !state.version;
    if (shown === state.about) return;
    shown = state.about;
    const meta = shown?.segmentationMeta ?? {};
    verdict.value = meta.status ?? "";
    level.value = meta.level ?? "";
    comment.value = meta.comment ?? "";
  }
  const part = section(
    "Review",
    field("State", verdict),
    field("Difficulty", level),
    field("Comment", comment),
    element("div", { className: "row" }, store, onward),
  );
  return { part, update };
}
