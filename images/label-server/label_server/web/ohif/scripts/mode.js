// The mode Label: OHIF's mode for segmentations with our panel in the place of its own, whose export would store past
// the label server.

import { release } from "./graphics.js";
import { BINDINGS } from "./hotkeys.js";
import { enter, leave } from "./labelling.js";
import { BACKGROUND, FOREGROUND } from "./points.js";

const ID = "labelpod";

/** Only what works on a CT, and what needs nothing of other hosts. */
const TOOLBAR = {
  primary: ["WindowLevel", "Pan", "Zoom", "StackScroll", "MeasurementTools", "Crosshairs", "Layout", "Capture", "MoreTools"],
  MeasurementTools: ["Length", "Bidirectional", "EllipticalROI"],
  MoreTools: ["Reset", "rotate-right", "flipHorizontal", "ReferenceLines", "invert", "Cine", "Magnify", "TagBrowser"],
};
const TOOLS = [{ passive: [FOREGROUND, BACKGROUND, ...TOOLBAR.MeasurementTools].map(toolName => ({ toolName })) }];

async function modeFactory({ loadModules }) {
  const [{ modeInstance: base }] = await loadModules(["@ohif/mode-segmentation"]);
  const [route] = base.routes;
  const layout = route.layoutInstance;
  return {
    ...base,
    id: ID,
    routeName: "label",
    displayName: "Label",
    hangingProtocol: ["labelpod"],
    toolbarSections: [...base.toolbarSections, TOOLBAR],
    toolGroupAdditions: { ...base.toolGroupAdditions, default: TOOLS, mpr: TOOLS },
    modeCustomizations: { "ohif.hotkeyBindings": { $set: BINDINGS } },
    onModeEnter(context) {
      base.onModeEnter.call(this, context);
      enter();
    },
    onModeExit(context) {
      leave(); // before OHIF takes the label map away
      setTimeout(release()); // after OHIF has taken the views away
      base.onModeExit.call(this, context);
    },
    isValidMode: ({ modalities }) => ({
      valid: modalities.split("\\").includes("CT"),
      description: "Only a CT can be labelled",
    }),
    routes: [
      {
        ...route,
        path: "label",
        layoutInstance: {
          ...layout,
          props: {
            ...layout.props,
            leftPanelClosed: true,
            rightPanels: ["labelpod.panelModule.label"],
            rightPanelClosed: false,
            rightPanelInitialExpandedWidth: 340,
          },
        },
      },
    ],
  };
}

export default { id: ID, modeFactory, extensionDependencies: {} };
