/* GraphiQL for those who have no pointer. */

/**
 * GraphiQL's tabs as screen readers and keyboards expect them: what is a tab is the button that opens it, and not the
 * item around it, in which there is a second button. The Delete key closes the tab that has the focus, arrows go from tab
 * to tab.
 */
export function mendTabs(root) {
  const mend = () => {
    for (const item of root.querySelectorAll(".graphiql-tab")) {
      const button = item.querySelector(".graphiql-tab-button");
      const close = item.querySelector(".graphiql-tab-close");
      if (!button) continue;
      const selected = item.getAttribute("aria-selected");
      if (selected !== null) {
        button.setAttribute("aria-selected", selected);
        item.removeAttribute("aria-selected");
      }
      set(item, "role", "presentation");
      set(item, "tabindex", null);
      set(button, "role", "tab");
      set(button, "aria-keyshortcuts", close ? "Delete" : null);
      if (close) {
        set(close, "tabindex", "-1");
        set(close, "aria-hidden", "true");
      }
    }
  };
  const onKey = (event) => {
    const item = event.target.closest?.(".graphiql-tab");
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!item || !(step || event.key === "Delete")) return;
    const buttons = [...root.querySelectorAll(".graphiql-tab-button")];
    const at = buttons.indexOf(item.querySelector(".graphiql-tab-button"));
    if (step) {
      buttons[(at + step + buttons.length) % buttons.length].focus();
    } else {
      buttons[at === 0 ? 1 : at - 1]?.focus();
      item.querySelector(".graphiql-tab-close")?.click();
    }
  };
  const observer = new MutationObserver(mend);
  observer.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected", "tabindex"] });
  root.addEventListener("keydown", onKey);
  mend();
  return () => {
    observer.disconnect();
    root.removeEventListener("keydown", onKey);
  };
}

function set(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

/** Has the Tab key leave an editor, as it leaves any other field; while a suggestion is shown it takes that. */
export function freeTabKey(root) {
  const onKey = (event) => {
    if (event.key !== "Tab" || event.ctrlKey || event.altKey || event.metaKey) return;
    if (!event.target.closest?.(".monaco-editor") || document.querySelector(".suggest-widget.visible")) return;
    event.stopPropagation(); // before the editor has it: then the browser moves the focus
  };
  root.addEventListener("keydown", onKey, true);
  return () => root.removeEventListener("keydown", onKey, true);
}
