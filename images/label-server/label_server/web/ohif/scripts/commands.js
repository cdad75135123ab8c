// What the keys of the mode Label do, as OHIF's commands.

import * as editing from "./editing.js";
import { notify, ohif, state } from "./state.js";
import { runChosen } from "./chosen_model.js";
import { setWindow } from "./windows.js";

const does = commandFn => ({ commandFn });

/** Have the panel do something that it may have to ask about; where OHIF has taken it away, that is said. */
function panelDoes(what) {
  if (state.dispatchEvent(new Event(what, { cancelable: true })))
    notify("Label", "Open the panel on the right first.");
}

export const definitions = {
  labelTool: does(({ name }) => editing.choose(name)),
  labelSegment: does(({ index }) => editing.segment(index)),
  labelBrush: does(({ factor }) => editing.resize(editing.chosen.diameter * factor)),
  labelCopy: does(editing.copySlice),
  labelFill: does(editing.fill),
  labelRun: does(() => runChosen()),
  labelSave: does(() => panelDoes("save")),
  labelNext: does(() => panelDoes("next")),
  labelWindow: does(({ name }) => setWindow(ohif, name)),
  labelHelp: does(() => panelDoes("help")),
};
