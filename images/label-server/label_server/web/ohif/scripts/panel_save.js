// Saving and going on, in the panel, and what has to be asked before.

import { button, element, field, options } from "./elements.js";
import { answerOffer, restore, save, say, settle, startAnew, state, unsaved } from "./labelling.js";
import { hasPrevious, next, previous, setStrategy, skip, strategy, visit } from "./worklist.js";

const REASONS = ["The image is of poor quality", "I am not sure", "It is another organ or not a chest CT"];

/** A question with an answer for each button, in the place of a window that would hide the CT. */
function question() {
  const text = element("p");
  const answers = element("div", { className: "row" });
  const box = element("div", { className: "question", role: "alertdialog", "aria-label": "Question", hidden: true }, text, answers);
  let asked = "";

  function ask(what, buttons, extra = []) {
    if (asked === what) return;
    asked = what;
    text.textContent = what;
    const close = action => () => {
      hide();
      action();
    };
    answers.replaceChildren(...extra, ...buttons.map(([title, action]) => button(title, close(action))));
    box.hidden = false;
    answers.querySelector("button, input, select").focus();
  }

  function hide() {
    asked = "";
    box.hidden = true;
  }
  return { box, ask, hide };
}

export function saving(signal) {
  const { box, ask, hide } = question();
  const store = button("Save", trySave, { className: "primary", title: "Store the label in the archive (Ctrl+S)" });
  const onward = button("Next CT", () => leaving(next), { title: "Open the next CT (key N)" });
  const back = button("Previous", () => leaving(previous));
  const pass = button("Skip …", askWhy);
  const anew = button("Start anew", startAnew);
  const again = button("Try again", restore);
  const order = element("select", { onchange: () => setStrategy(order.value) });
  const message = element("p", { className: "message", role: "status" });
  let mine = ""; // what is asked of oneself: drafts and conflicts come from the state

  function trySave() {
    if (!state.measures || state.measures.present().length) return save();
    mine = "empty";
    return ask("Nothing is painted. Save that this CT has no nodule?", [
      ["Save: no nodule", () => done(save)],
      ["Cancel", () => done()],
    ]);
  }

  function leaving(go) {
    if (!unsaved()) return go();
    mine = "leaving";
    return ask("The label is not saved.", [
      ["Save and go on", () => done(async () => (await save()) && go())],
      ["Go on, keep it in this browser", () => done(go)],
      ["Stay", () => done()],
    ]);
  }

  function askWhy() {
    const list = element("datalist", { id: "reasons" }, ...REASONS.map(value => element("option", { value })));
    const reason = element("input", { maxLength: 200, required: true, "aria-label": "Reason", placeholder: "Why?" });
    reason.setAttribute("list", "reasons");
    mine = "skipping";
    const go = () => (reason.value.trim() ? done(() => skip(reason.value.trim())) : done(() => say("Say why, in a word.", "error")));
    ask("Others will get this CT. Why not you?", [["Skip", go], ["Cancel", () => done()]], [reason, list]);
  }

  function done(action = () => {}) {
    mine = "";
    action();
  }

  function asks() {
    if (mine) return;
    if (state.conflict) {
      ask(`${state.conflict.detail}`, [
        ["Show theirs", () => settle(false)],
        ["Replace it with mine", () => settle(true)],
      ]);
    } else if (state.draft) {
      const at = new Date(state.draft.at).toLocaleString();
      ask(`This browser has unsaved work on this CT, of ${at}.`, [
        ["Take it back", () => answerOffer(true)],
        ["Delete it", () => answerOffer(false)],
      ]);
    } else hide();
  }

  function update() {
    const alive = Boolean(state.map?.alive);
    store.disabled = !alive || state.hidden;
    store.textContent = unsaved() ? "Save *" : "Save";
    anew.hidden = state.hidden !== "unreadable";
    again.hidden = state.hidden !== "unreachable";
    back.disabled = !hasPrevious();
    pass.disabled = !state.image;
    options(order, state.strategies.map(name => [name, name]), strategy());
    message.textContent = state.message.text;
    message.className = `message ${state.message.kind}`;
    asks();
  }
  state.addEventListener("save", trySave, { signal });
  state.addEventListener("next", () => leaving(next), { signal });
  state.addEventListener("go", ({ detail }) => leaving(() => visit(detail)), { signal });
  const part = element(
    "section",
    { "aria-label": "Save and go on" },
    message,
    box,
    element("div", { className: "row" }, store, anew, again, onward, back, pass),
    field("Next by", order),
  );
  return { part, update };
}
