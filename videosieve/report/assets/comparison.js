// Which scene is shown, and the keys.
const players = all(".scene.player").map(player);
let scene = 0;
all(".scene.steps").forEach(steps);
players[0]?.wake();

const chooser = document.getElementById("scene");
function choose(index) {
  players[scene].pause();
  scene = (index + players.length) % players.length;
  for (const part of all("[data-scene]")) part.hidden = Number(part.dataset.scene) !== scene;
  chooser.value = scene;
  players[scene].wake();
}
chooser?.addEventListener("change", () => choose(Number(chooser.value)));
for (const button of all("[data-turn]")) button.addEventListener("click", () => choose(scene + Number(button.dataset.turn)));

// Keys that a focused control needs itself are left to it.
const taken = { " ": "button, select, summary, input[type=checkbox]", d: "select", arrow: "select, input, .scroll, pre" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.target.closest(taken[by ? "arrow" : event.key] ?? "*")) return;
  event.preventDefault();
  if (by) players[scene].move(by);
  else if (event.key === "d") players[scene].differ();
  else players[scene].toggle();
});
