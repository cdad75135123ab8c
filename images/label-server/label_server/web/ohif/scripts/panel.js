// Our panel in OHIF, as an element of its own: OHIF's React makes it and takes it away with the mode.

import { BINDINGS } from "./hotkeys.js";
import { placed } from "./chosen_model.js";
import { button, element } from "./elements.js";
import { state } from "./labelling.js";
import { models } from "./panel_model.js";
import { review } from "./panel_review.js";
import { saving } from "./panel_save.js";
import { segments } from "./panel_segments.js";
import { tools } from "./panel_tools.js";
import { training } from "./panel_training.js";

const TYPED = ["INPUT", "SELECT", "TEXTAREA"];
const PRESSES = ["Enter", " "];

class Panel extends HTMLElement {
  connectedCallback() {
    this.stop = new AbortController();
    const { signal } = this.stop;
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    const parts = [saving(signal), segments(), tools(), models(), review(), training()];
    const help = this.#help();
    const who = element("p", { className: "who" });
    root.replaceChildren(
      element("link", { rel: "stylesheet", href: "/ohif/labelpod/panel.css" }),
      element("header", {}, who, element("a", { href: "/", textContent: "Start page" }), button("?", () => help.showModal(), { "aria-label": "Keys" })),
      ...parts.map(({ part }) => part),
      help,
    );
    const update = () => {
      who.textContent = state.user && `${state.user}, ${state.role}`;
      for (const part of parts) part.update();
    };
    state.addEventListener("change", update, { signal });
    state.addEventListener("help", () => help.showModal(), { signal });
    cornerstone.eventTarget.addEventListener(cornerstoneTools.Enums.Events.ANNOTATION_COMPLETED, placed);
    for (const type of ["keydown", "keypress", "keyup"]) root.addEventListener(type, this.#own, { signal });
    update();
  }

  disconnectedCallback() {
    cornerstone.eventTarget.removeEventListener(cornerstoneTools.Enums.Events.ANNOTATION_COMPLETED, placed);
    this.stop.abort();
  }

  /** What is typed into the panel, or presses its buttons, is none of OHIF's keys. */
  #own(event) {
    const { tagName } = event.target;
    if (TYPED.includes(tagName) || (tagName === "BUTTON" && PRESSES.includes(event.key))) event.stopPropagation();
  }

  #help() {
    const rows = BINDINGS.map(({ label, keys }) =>
      element("tr", {}, element("td", {}, element("kbd", { textContent: keys[0] })), element("td", { textContent: label })),
    );
    const close = button("Close", () => help.close());
    const help = element("dialog", { "aria-label": "Keys" }, element("h2", { textContent: "Keys" }), element("table", {}, ...rows), close);
    return help;
  }
}

customElements.define("labelpod-panel", Panel);
