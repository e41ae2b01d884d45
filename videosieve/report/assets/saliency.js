// Maps over one source: every card is a canvas that shows the same frame, so nothing can drift apart.
const at = (selector, root = document) => root.querySelector(selector);
const data = JSON.parse(at("#data").textContent);
const source = at("#source"), isVideo = source.tagName === "VIDEO";
const [, rows, columns] = data.grid, cells = rows * columns;
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
for (const map of data.maps) (map.heat = bytes(map.heat)), (map.winners = bytes(map.winners));
const property = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const rgb = (colour) => [1, 3, 5].map((i) => parseInt(colour.trim().slice(i, i + 2), 16));
const HEAT = property("heat").split(",").map(rgb);
const heat = (value) => {
  const place = (value / 255) * (HEAT.length - 1), lower = Math.min(Math.floor(place), HEAT.length - 2), share = place - lower;
  return HEAT[lower].map((part, i) => part * (1 - share) + HEAT[lower + 1][i] * share);
};
const colours = data.concepts.map((concept) => rgb(property(concept.colour)));
const select = at("#map"), paint = at("#paint"), masks = at("#masks"), scrubber = at(".scrubber"), button = at(".play");
data.maps.forEach((map, index) => select.add(new Option(index ? map.name : "mean of all that were averaged", index)));
const chosen = () => data.maps[Number(select.value)];
const small = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
let frame = 0, playing = false;

const token = () => data.frameOf[Math.min(frame, data.frameOf.length - 1)];
function layer(show) {
  const map = chosen(), image = new ImageData(columns, rows), start = token() * cells, index = Number(show);
  const first = index * data.grid[0] * cells + start;
  for (let cell = 0; cell < cells; cell++) {
    const winner = map.winners[start + cell];
    const colour = show === "all" ? colours[winner] : heat(map.heat[first + cell]);
    const seen = show === "all" || !masks.checked || winner === index;
    image.data.set([...colour, seen ? 153 : 0], cell * 4);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}
function draw() {
  const width = source.videoWidth || source.naturalWidth, height = source.videoHeight || source.naturalHeight;
  if (!width) return;
  for (const canvas of all("canvas[data-show]")) {
    const context = canvas.getContext("2d"), show = canvas.dataset.show;
    if (canvas.width !== width) Object.assign(canvas, { width, height });
    context.imageSmoothingEnabled = false;
    context.drawImage(source, 0, 0, width, height);
    if (show !== "plain" && paint.checked) context.drawImage(layer(show), 0, 0, width, height);
  }
  const map = chosen(), shares = map.shares[token()];
  all("[data-concept]").forEach((card, index) => {
    at(".low", card).textContent = map.low[index].toPrecision(2);
    at(".high", card).textContent = map.high[index].toPrecision(2);
    const words = `${(100 * shares[index]).toFixed(1)} %`;
    for (const place of [at(".share", card), at(`[data-share="${index}"]`)]) if (place) place.textContent = words;
  });
  if (!scrubber) return;
  const words = placeName("frame", frame, data.frames);
  scrubber.value = frame;
  scrubber.setAttribute("aria-valuetext", words);
  at(".clock").textContent = words;
  mark([document], "frame", frame);
}
function seek(number) {
  pause();
  frame = Math.max(0, Math.min(data.frames - 1, number));
  if (isVideo) source.currentTime = (frame + 0.5) / data.fps;
  else draw();
}
function follow() {
  if (!playing) return;
  const now = Math.min(data.frames - 1, Math.floor(source.currentTime * data.fps + 0.01));
  if (now !== frame) (frame = now), draw();
  requestAnimationFrame(follow);
}
function state(value) {
  playing = value;
  button?.setAttribute("aria-label", playing ? "pause" : "play");
  at(".player").classList.toggle("playing", playing);
}
function pause() {
  if (playing) source.pause();
  state(false);
}
async function play() {
  state(true);
  await source.play().catch(() => state(false));
  follow();
}
function chart() {
  const plot = at("#shares");
  if (!plot) return;
  const points = data.frameOf.map((place) => chosen().shares[place]), wide = 100 / points.length;
  plot.replaceChildren(...data.concepts.map((concept, index) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const steps = points.map((shares, i) => `${wide * i},${(100 * (1 - shares[index])).toFixed(2)} H${wide * (i + 1)}`);
    line.setAttribute("d", `M${steps.join(" L")}`);
    line.setAttribute("stroke-dasharray", concept.dash);
    line.style.setProperty("--method", `var(--${concept.colour})`);
    return line;
  }));
}
const turn = (by) => {
  select.value = (Number(select.value) + by + data.maps.length) % data.maps.length;
  draw();
  chart();
};
select.addEventListener("change", () => turn(0));
for (const each of all("[data-turn]")) each.addEventListener("click", () => turn(Number(each.dataset.turn)));
for (const box of [paint, masks]) box.addEventListener("change", draw);
scrubber?.addEventListener("input", () => seek(Number(scrubber.value)));
button?.addEventListener("click", () => (playing ? pause() : play()));
for (const screen of all(".screen")) screen.addEventListener("click", () => button && (playing ? pause() : play()));
clickable(document, "frame", seek);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input[type=range]")) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by && scrubber) seek(frame + by);
  else if (event.key === " " && button && !event.target.closest("button, input")) playing ? pause() : play();
  else if (event.key === "m") (paint.checked = !paint.checked), draw();
  else return;
  event.preventDefault();
});
for (const ramp of all(".ramp")) {
  const context = ramp.getContext("2d");
  for (let x = 0; x < ramp.width; x++) {
    context.fillStyle = `rgb(${heat((255 * x) / (ramp.width - 1)).map(Math.round)})`;
    context.fillRect(x, 0, 1, ramp.height);
  }
}
chart();
if (isVideo) {
  source.addEventListener("seeked", draw);
  const start = () => seek(0);
  source.readyState > 1 ? start() : source.addEventListener("loadeddata", start, { once: true });
} else source.complete ? draw() : source.addEventListener("load", draw);
