// The review in the panel: what a reviewer thinks of the label that is stored, as MONAI Label Reviewer writes it, and
// what comes back to its author.

import { button, element, field, options, section } from "./elements.js";
import * as server from "./server.js";
import { say, state } from "./state.js";
import { goTo } from "./worklist.js";

const REVIEWERS = ["reviewer", "admin"];

export function review() {
  const verdict = element("select");
  const level = element("select");
  const comment = element("textarea", { rows: 2, maxLength: 2000 });
  const store = button("Save review", save);
  const onward = button("Next to review", () => next("", "No label waits for a review."));
  const back = button("Next flagged", () => next("flagged", "None of your labels is flagged."));
  const told = element("p");
  options(verdict, [["", "not reviewed"], ["approved", "approved"], ["flagged", "flagged: to be corrected"]]);
  options(level, [["", "—"], ["easy", "easy"], ["medium", "medium"], ["hard", "hard"]]);
  let shown = null;

  async function save() {
    const said = { status: verdict.value, level: level.value, comment: comment.value };
    const meta = { ...said, approvedBy: state.user, editTime: Math.floor(Date.now() / 1000) };
    const { about } = state;
    try {
      await server.review(state.image, meta, state.version);
      if (state.about === about) state.about = { ...about, segmentationMeta: meta };
      say(`Review saved: ${verdict.value || "not reviewed"}`, "good");
    } catch (error) {
      say(`The review is not saved: ${error.message}`, "error");
    }
  }

  async function next(wanted, none) {
    try {
      const waiting = (await server.reviews()).find(each => each.state === wanted && each.image !== state.image);
      if (waiting) goTo(waiting);
      else say(none);
    } catch (error) {
      say(`The labels to review are not known: ${error.message}`, "error");
    }
  }

  function update() {
    reviewers.hidden = !REVIEWERS.includes(state.role);
    store.disabled = !state.version;
    if (shown === state.about) return;
    shown = state.about;
    const meta = shown?.segmentationMeta ?? {};
    verdict.value = meta.status ?? "";
    level.value = meta.level ?? "";
    comment.value = meta.comment ?? "";
    told.textContent = [meta.status, meta.level, meta.comment].filter(Boolean).join(", ");
    told.hidden = !reviewers.hidden || !told.textContent;
  }
  const reviewers = element(
    "div",
    {},
    field("State", verdict),
    field("Difficulty", level),
    field("Comment", comment),
    element("div", { className: "row" }, store, onward),
  );
  const part = section("Review", told, reviewers, back);
  return { part, update };
}
