// The windows for a CT, and which one this browser used last.

// Width and centre in HU.
export const WINDOWS = {
  lung: { width: 1400, center: -500 },
  "soft tissue": { width: 400, center: 40 },
  bone: { width: 2000, center: 500 },
};
const USED = "labelpod-window";

/** The window that a CT opens in. */
export const firstWindow = () => WINDOWS[localStorage.getItem(USED)] ?? WINDOWS.lung;

export const firstName = () => Object.keys(WINDOWS).find(name => WINDOWS[name] === firstWindow());

/** Show all views in a window, and open the next CT in it. */
export function setWindow({ services, commandsManager }, name) {
  localStorage.setItem(USED, name);
  const { width: windowWidth, center: windowCenter } = WINDOWS[name];
  for (const viewportId of services.viewportGridService.getState().viewports.keys())
    commandsManager.run("setViewportWindowLevel", { viewportId, windowWidth, windowCenter });
}
