// Our panel in OHIF, as an element of its own: OHIF's React makes it and takes it away with the mode.

import { BINDINGS } from "./hotkeys.js";
import { button, element } from "./elements.js";
import { state } from "./state.js";
import { missingSlices } from "./panel_missing.js";
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
    const parts = [missingSlices(), saving(signal), segments(), tools(), models(), review(), training()];
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
    const show = event => {
      event.preventDefault(); // the panel does it
      help.showModal();
    };
    state.addEventListener("help", show, { signal });
    for (const type of ["keydown", "keypress", "keyup"]) root.addEventListener(type, this.#own, { signal });
    update();
  }

  disconnectedCallback() {
    this.stop.abort();
  }

  /** What is typed into the panel, answers a question or presses a button of it is none of OHIF's keys. */
  #own(event) {
    const { tagName } = event.target;
    const asked = event.target.closest("dialog, .question");
    if (asked || TYPED.includes(tagName) || (tagName === "BUTTON" && PRESSES.includes(event.key))) event.stopPropagation();
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
