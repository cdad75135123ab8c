// Saving and going on, in the panel, and what has to be asked before.

import { button, element, field, options } from "./elements.js";
import { ready, say, state, unsaved } from "./state.js";
import { restore, save, settle, startAnew } from "./stored_label.js";
import { answerOffer } from "./unsaved.js";
import { hasPrevious, next, previous, setStrategy, skip, strategy, visit } from "./worklist.js";

const REASONS = ["The image is of poor quality", "I am not sure", "It is another organ or not a chest CT"];

/** A question with an answer for each button, in the place of a window that would hide the CT. */
function question() {
  const text = element("p");
  const answers = element("div", { className: "row" });
  const box = element("div", { className: "question", role: "alertdialog", "aria-label": "Question", tabIndex: -1, hidden: true }, text, answers);
  let asked = null;
  let before = null; // what had the focus

  /** Ask, unless `about` is what is asked already. */
  function ask(about, what, buttons, extra = []) {
    if (asked === about) return;
    asked = about;
    text.textContent = what;
    answers.replaceChildren(...extra, ...buttons.map(([title, action]) => button(title, action)));
    if (box.hidden) before = box.getRootNode().activeElement;
    box.hidden = false;
    (extra[0] ?? box).focus();
  }

  function hide() {
    if (asked) {
      box.getRootNode().activeElement?.blur(); // keys are OHIF's again
      before?.focus();
    }
    asked = null;
    box.hidden = true;
  }
  return { box, ask, hide };
}

export function saving(signal) {
  const { box, ask, hide } = question();
  const store = button("Save", () => trySave(), { className: "primary", title: "Store the label in the archive (Ctrl+S)" });
  const onward = button("Next CT", () => leaving(next), { title: "Open the next CT (key N)" });
  const back = button("Previous", () => leaving(previous));
  const pass = button("Skip …", askWhy);
  const anew = button("Start anew", startAnew);
  const again = button("Try again", restore);
  const order = element("select", { onchange: () => setStrategy(order.value) });
  const message = element("p", { className: "message", role: "status" });
  let mine = null; // what is asked of oneself, of which CT; drafts and conflicts come from the state

  function own(what, buttons, extra) {
    mine = { image: state.image };
    ask(mine, what, buttons.map(([title, action]) => [title, () => done(action)]), extra);
  }

  function done(action = () => {}) {
    mine = null;
    hide();
    action();
  }

  /** Save, after a question if nothing is painted; then go on. */
  async function trySave(then = () => {}) {
    const saved = async () => (await save()) && then();
    if (!ready() || state.measures.present().length) return saved();
    return own("Nothing is painted. Save that this CT has no nodule?", [["Save: no nodule", saved], ["Cancel"]]);
  }

  function leaving(go) {
    if (!unsaved()) return go();
    return own("The label is not saved.", [
      ["Save and go on", () => trySave(go)],
      ["Go on, keep it in this browser", go],
      ["Stay"],
    ]);
  }

  function askWhy() {
    const list = element("datalist", { id: "reasons" }, ...REASONS.map(value => element("option", { value })));
    const reason = element("input", { maxLength: 200, required: true, "aria-label": "Reason", placeholder: "Why?" });
    reason.setAttribute("list", "reasons");
    const go = () => (reason.value.trim() ? skip(reason.value.trim()) : say("Say why, in a word.", "error"));
    own("Others will get this CT. Why not you?", [["Skip", go], ["Cancel"]], [reason, list]);
  }

  function asks() {
    if (mine && mine.image === state.image) return;
    mine = null;
    if (state.conflict) {
      ask(state.conflict, state.conflict.detail, [
        ["Show theirs", () => settle(false)],
        ["Replace it with mine", () => settle(true)],
      ]);
    } else if (state.draft) {
      const at = new Date(state.draft.at).toLocaleString();
      ask(state.draft, `This browser has unsaved work on this CT, of ${at}.`, [
        ["Take it back", () => answerOffer(true)],
        ["Delete it", () => answerOffer(false)],
      ]);
    } else hide();
  }

  function update() {
    store.disabled = !ready();
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
  const does = action => event => {
    event.preventDefault(); // the panel does it
    action();
  };
  state.addEventListener("save", does(trySave), { signal });
  state.addEventListener("next", does(() => leaving(next)), { signal });
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
