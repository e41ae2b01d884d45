// Draws everything, at the start and whenever what it depends on changes.
async function draw() {
  readRamp();
  drawBars();
  drawAtlas();
  drawKey();
  await Promise.all([...maps.map(drawMap), drawPatch()]);
  document.body.dataset.ready = String(chosen.spot);
}
async function start() {
  fillChoices();
  buildTiles();
  pictures.push(...(await Promise.all(data.frames.map(load))));
  await draw();
}
byId("fade").addEventListener("change", () => maps.forEach(drawMap));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let waiting = 0;
window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 120); });
start();
