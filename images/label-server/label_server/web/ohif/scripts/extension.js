// What the mode Label is made of, as OHIF takes it: our panel, its commands, the layout and the tools for points.

import * as ahead from "./ahead.js";
import * as points from "./points.js";
import { definitions } from "./commands.js";
import { placed } from "./chosen_model.js";
import { limit } from "./graphics.js";
import { start } from "./labelling.js";
import { watch } from "./missing_slices.js";
import { firstWindow } from "./windows.js";
import { strategy } from "./worklist.js";
import "./panel.js";

const ID = "labelpod";

function preRegistration({ servicesManager, commandsManager, extensionManager }) {
  limit();
  points.register(window.cornerstoneTools);
  cornerstone.eventTarget.addEventListener(cornerstoneTools.Enums.Events.ANNOTATION_COMPLETED, placed);
  watch();
  ahead.watch(strategy);
  start({ services: servicesManager.services, commandsManager, extensionManager });
}

const getPanelModule = () => [
  { name: "label", iconName: "tab-segmentation", iconLabel: "Label", label: "Label", component: "labelpod-panel" },
];

const getCommandsModule = () => ({ definitions, defaultContext: "DEFAULT" });

/** The axial view large, the others beside it, in the window that was used last. */
function getHangingProtocolModule({ servicesManager }) {
  const { hangingProtocolService } = servicesManager.services;
  const protocol = structuredClone(hangingProtocolService.getProtocolById("primaryAxial"));
  const window = firstWindow();
  for (const { displaySets } of protocol.stages[0].viewports)
    displaySets[0].options = { voi: { windowWidth: window.width, windowCenter: window.center } };
  return [{ name: ID, protocol: { ...protocol, id: ID, name: "Label", isPreset: false } }];
}

export default { id: ID, preRegistration, getPanelModule, getCommandsModule, getHangingProtocolModule };
