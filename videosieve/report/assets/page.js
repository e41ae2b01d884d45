"use strict";
// What every page needs: a short way to elements, the name of a place in a sequence, and the command to copy.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const placeName = (kind, index, count) => `${kind} ${index} of 0–${count - 1}`; // numbered from 0, like options and files

const copy = document.getElementById("copy");
copy?.addEventListener("click", async () => {
  const command = document.getElementById("command");
  getSelection().selectAllChildren(command);
  let done = true;
  try {
    await navigator.clipboard.writeText(command.textContent);
  } catch {
    done = document.execCommand("copy");
  }
  copy.textContent = done ? "copied" : "selected";
  setTimeout(() => (copy.textContent = "copy"), 2000);
});
