// What the keys of the mode Label do, as OHIF's commands.

import * as editing from "./editing.js";
import { ohif, state } from "./labelling.js";
import { runChosen } from "./chosen_model.js";
import { setWindow } from "./windows.js";

const does = commandFn => ({ commandFn });

export const definitions = {
  labelTool: does(({ name }) => editing.choose(name)),
  labelSegment: does(({ index }) => editing.segment(index)),
  labelBrush: does(({ factor }) => editing.resize(editing.chosen.diameter * factor)),
  labelCopy: does(editing.copySlice),
  labelFill: does(editing.fill),
  labelRun: does(() => runChosen()),
  labelSave: does(() => state.dispatchEvent(new Event("save"))),
  labelNext: does(() => state.dispatchEvent(new Event("next"))),
  labelWindow: does(({ name }) => setWindow(ohif, name)),
  labelHelp: does(() => state.dispatchEvent(new Event("help"))),
};
