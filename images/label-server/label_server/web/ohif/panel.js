// OHIF's panel for MONAI Label as a place to label in: it connects by itself, shows the label that is stored, and has
// a button that saves, which upstream's has not (monailabel 0.8.5, plugins/ohifv3).

import { SEGMENTATION, identity, image, present, restore, store, voxels } from "./labels.js";
import { same } from "./volumes.js";

const PROBE = "ProbeMONAILabel"; // the tool that places the panel's points
const SAVE = "labelpod-save";
const PATIENCE = 10_000; // milliseconds after which a panel that has no label map is told to connect again
// Told apart by everybody; upstream's are three browns.
const COLORS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"];

let connecting = { panel: null, at: 0 }; // the panel that was told to connect, and when
let map = { id: "", loading: false, shown: false }; // the label map, and whether it has got what is stored
let kept = new Uint8Array(); // the voxels that are stored
let touched = false; // whether it was said since that they have changed; it is also said when they have not
let unsaved = false;
let chosen = null; // the row of the nodule that was chosen last

const say = (type, message) =>
  services.uiNotificationService.show({ title: "Label", message, type, duration: 8000 });

function write(message) {
  const button = document.getElementById(SAVE);
  if (button) button.nextSibling.textContent = message;
}

const names = painted => present(painted).map(({ label }) => label).join(", ") || "no nodule";

// --- saving and showing ---

function isUnsaved() {
  if (touched && identity()) unsaved = !same(voxels(), kept);
  touched = false;
  return unsaved;
}

function keep(painted) {
  kept = painted;
  touched = true;
}

async function save({ currentTarget: button }) {
  const painted = voxels();
  if (!present(painted).length && !confirm("Nothing is painted. Save that this CT has no nodule?")) return;
  button.disabled = true;
  try {
    await store(painted);
    keep(painted);
    const saved = `Saved: ${names(painted)}`;
    write(saved);
    say("success", saved);
  } catch (error) {
    write("Not saved");
    say("error", `Not saved: ${error.message}. The label is still here.`);
  }
  button.disabled = false;
}

/**
 * Put what is stored into a new label map. What cannot be shown must not be replaced unseen: nothing is saved then,
 * unless it is another program's, which stays where it is.
 */
async function load(id) {
  map = { id, loading: true, shown: false };
  try {
    const stored = await restore();
    write(stored ? `Stored: ${names(voxels())}` : "Nothing stored");
    map.shown = true;
  } catch (error) {
    map.shown = Boolean(error.foreign);
    write(error.foreign ? error.message : "The stored label cannot be shown");
    const advice = error.foreign ? "A label that you save is stored beside it." : "Correct it in 3D Slicer.";
    say("error", `The stored label cannot be shown: ${error.message}. ${advice}`);
  }
  if (identity() === id) keep(voxels());
  map.loading = false;
}

// --- the panel ---

/** The image in the active view once all of it is loaded: its series UID. */
function inView() {
  const { activeViewportId } = services.viewportGridService.getState();
  const view = services.cornerstoneViewportService.getViewportInfo(activeViewportId)?.viewportData?.data?.[0];
  const displaySet = services.displaySetService.getDisplaySetByUID(view?.displaySetInstanceUID);
  return view?.volume?.loadStatus?.loaded && displaySet?.isReconstructable ? displaySet.SeriesInstanceUID : "";
}

function connect(panel) {
  const told = connecting.panel === panel && Date.now() - connecting.at < PATIENCE;
  if (told || !inView()) return;
  connecting = { panel, at: Date.now() };
  panel.querySelector(".settingsTable button").click();
}

/** Upstream's panel would paint what a model says of one series into the label map of another. */
function changeSeries(panel) {
  services.segmentationService.remove(SEGMENTATION);
  document.getElementById(SAVE).parentNode.remove();
  panel.querySelector(".settingsTable button").click();
}

function addButton(panel) {
  const bar = document.createElement("div");
  const button = document.createElement("button");
  Object.assign(button, { id: SAVE, className: "actionButton", textContent: "Save label", onclick: save });
  Object.assign(button, { title: "Store the label as DICOM SEG", disabled: true });
  button.style.padding = "0 20px";
  bar.append(button, document.createElement("p"));
  bar.style = "color: white; font-size: 13px";
  panel.querySelector(".tabs").before(bar);
  return button;
}

/** In the views, and in the list of the panel, which keeps its own. */
function paintApart() {
  const { viewports } = services.viewportGridService.getState();
  const listed = services.segmentationService.getSegmentation(SEGMENTATION)?.config.segments;
  for (const index of Object.keys(listed ?? {}).map(Number)) {
    const code = COLORS[(index - 1) % COLORS.length];
    const color = [1, 3, 5].map(place => parseInt(code.slice(place, place + 2), 16)).concat(255);
    listed[index].color = color;
    for (const id of viewports.keys())
      cornerstoneTools.segmentation.config.color.setSegmentIndexColor(id, SEGMENTATION, index, color);
    for (const row of document.querySelectorAll(".monaiLabelPanel .clickable-row"))
      if (row.textContent === listed[index].label) row.querySelector(".segColor").style.backgroundColor = code;
  }
}

/** Every now and then: the panel comes and goes with the study, and with its side of the window. */
async function tend() {
  const panel = document.querySelector(".monaiLabelPanel");
  if (!panel || map.loading) return;
  if (!panel.querySelector(".tabs") || !identity()) return connect(panel);
  if (!document.getElementById(SAVE)) {
    const button = addButton(panel);
    setTimeout(paintApart, 1500); // upstream's panel sets its own colours after a second
    if (map.id !== identity()) await load(identity());
    button.disabled = !map.shown;
  }
  if (touched && isUnsaved()) write("Not saved yet");
  if (inView() && inView() !== image() && !isUnsaved()) changeSeries(panel);
}

// --- clicks that upstream's panel takes amiss ---

/** Why a model cannot run. Without a point the panel's button would stop working for good (PointPrompts.tsx:171). */
function obstacle(tab) {
  const has = color => [...tab.querySelectorAll(".clickable-row")].some(row => row.style.backgroundColor === color);
  const back = has("darkred") && chosen?.isConnected;
  if (back) chosen.click(); // while "background" is chosen, the panel would paint that
  const points = cornerstoneTools.annotation.state.getAllAnnotations();
  const ready = (back || has("darkblue")) && points.some(({ metadata }) => metadata.toolName === PROBE);
  if (!ready) return "Choose a nodule below and click a point in it first.";
  return inView() === image() ? "" : "This view shows another series than the one that is labelled. Save first.";
}

/** Upstream's names any study, and its form opens the first series of it. */
function openNext(form) {
  const rows = [...form.querySelectorAll("tr")];
  const value = name => rows.find(row => row.textContent.startsWith(name)).cells[1].textContent;
  const [study, series] = [value("Study Instance UID"), value("Series Instance UID")];
  if (study) location.search = `?StudyInstanceUIDs=${study}&SeriesInstanceUIDs=${series}`;
  else say("info", "Everything is labelled, or others are working on it.");
}

function beforeClick(event) {
  const at = selector => event.target.closest(selector);
  const row = at(".monaiLabelPanel .clickable-row");
  if (row && row.textContent !== "background") chosen = row;
  const run = at('button[title="Run PointPrompts"]');
  const problem = run ? obstacle(run.closest(".tab")) : "";
  if (problem) say("warning", problem);
  const next = at(".nextSampleForm button");
  if (next) openNext(next.closest(".nextSampleForm"));
  const leaves = at('[data-cy="return-to-work-list"]') && isUnsaved();
  const stays = leaves && !confirm("The label is not saved. Leave it?");
  if (leaves) unsaved = stays;
  if (problem || next || stays) event.stopPropagation();
}

function start() {
  if (!window.cornerstoneTools) return setTimeout(start, 300);
  const changed = cornerstoneTools.Enums.Events.SEGMENTATION_DATA_MODIFIED;
  cornerstone.eventTarget.addEventListener(changed, () => (touched = true));
  document.addEventListener("click", beforeClick, true);
  window.addEventListener("beforeunload", event => isUnsaved() && event.preventDefault());
  setInterval(tend, 300);
}

start();
