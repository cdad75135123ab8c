// The keys of the mode Label. OHIF's own that a hand hits by mistake, such as those that flip the image, are left out.

const of = (label, keys, commandName, commandOptions = {}) => ({
  commandName,
  commandOptions,
  label,
  keys: [keys],
  isEditable: true,
});
const tool = (label, keys, name) => of(label, keys, "labelTool", { name });
const preset = (label, keys, name) => of(label, keys, "labelWindow", { name });

export const BINDINGS = [
  tool("Point in the nodule", "f", "foreground"),
  tool("Point that does not belong to it", "g", "background"),
  tool("Brush, sphere", "b", "sphere"),
  tool("Brush, circle", "c", "circle"),
  tool("Eraser", "e", "eraser"),
  tool("Threshold brush", "t", "threshold"),
  tool("Scissors", "x", "scissors"),
  tool("Window and level", "w", "window"),
  of("Larger brush", "]", "labelBrush", { factor: 1.25 }),
  of("Smaller brush", "[", "labelBrush", { factor: 0.8 }),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map(index => of(`Label ${index} of the list`, `${index}`, "labelSegment", { index })),
  of("Undo", "ctrl+z", "undo"),
  of("Redo", "ctrl+y", "redo"),
  of("Copy from the slice before", "p", "labelCopy"),
  of("Fill between slices", "m", "labelFill"),
  of("Run the model", "enter", "labelRun"),
  of("Save", "ctrl+s", "labelSave"),
  of("Next CT", "n", "labelNext"),
  preset("Lung window", "l", "lung"),
  preset("Soft tissue window", "k", "soft tissue"),
  preset("Bone window", "j", "bone"),
  of("Next slice", "down", "nextImage"),
  of("Previous slice", "up", "previousImage"),
  of("First slice", "home", "firstImage"),
  of("Last slice", "end", "lastImage"),
  of("Next view", "right", "incrementActiveViewport"),
  of("Previous view", "left", "decrementActiveViewport"),
  of("Zoom in", "+", "scaleUpViewport"),
  of("Zoom out", "-", "scaleDownViewport"),
  of("Reset the view", "space", "resetViewport"),
  of("Invert", "i", "invertViewport"),
  of("Delete the chosen measurement or point", "backspace", "deleteActiveAnnotation"),
  of("Cancel", "esc", "cancelActiveOperation"),
  of("This list", "?", "labelHelp"),
];
