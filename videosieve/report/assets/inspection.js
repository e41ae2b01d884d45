"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const [frames, height, width] = data.grid;
const [lowest, highest] = data.range;
const SHOWN = [-2, 6]; // log2 of the ratios between the ends of the colour ramp
const NAMES = {
  recall: "inside the executed mask (recall)", text: "on text", first_frame: "on the first frame",
  own_frame: "in its own frame", own_place: "at its own place, all frames", spread: "spread, share of all keys",
};
const chosen = { spot: 0, measure: 0, frame: 0, row: 0, column: 0 };
let ramp = [];

// ---- colours and pictures ------------------------------------------------------------------------------------------

function readRamp() {
  const stops = getComputedStyle(document.documentElement).getPropertyValue("--ramp").split(",");
  ramp = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.trim().slice(at, at + 2), 16)));
}
function colour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const low = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[low].map((part, i) => Math.round(part + (ramp[low + 1][i] - part) * (at - low)));
}
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const ratioOf = (code) => (code ? 2 ** logOf(code) : 0); // the lowest code stands for anything below
const logOf = (code) => lowest + (code / 255) * (highest - lowest);
const shareOf = (code) => (logOf(code) - SHOWN[0]) / (SHOWN[1] - SHOWN[0]);
function ratioText(code) {
  const ratio = 2 ** logOf(code);
  return (code === 0 ? "≤ " : code === 255 ? "≥ " : "") + ratio.toPrecision(2).replace(/\.0$/, "") + "×";
}
function load(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a picture of this page is damaged"));
    image.src = source;
  });
}
const codes = new Map();
async function readCodes(source) { // one byte a pixel
  if (!codes.has(source)) {
    const image = await load(source);
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, image.width, image.height).data;
    codes.set(source, Uint8Array.from({ length: pixels.length / 4 }, (_, i) => pixels[4 * i]));
  }
  return codes.get(source);
}
function sized(canvas, ratio) { // the canvas in device pixels; drawing goes on in CSS pixels
  const side = canvas.clientWidth, scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(side * scale);
  canvas.height = Math.round(side * ratio * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return [context, side, side * ratio];
}

// ---- choosing ------------------------------------------------------------------------------------------------------

const unique = (values) => [...new Set(values)].sort((a, b) => a - b);
const LEVELS = ["layer", "head", "step"];
function fillChoices() {
  LEVELS.forEach((name, axis) => {
    const select = byId(name);
    for (const value of unique(data.spots.map((spot) => spot.at[axis]))) select.add(new Option(value, value));
    select.addEventListener("change", () => go(LEVELS.map((level) => +byId(level).value)));
  });
  data.measures.forEach((name, i) => {
    if (name !== "recall" || !data.dense) byId("measure").add(new Option(NAMES[name], i));
  });
  chosen.measure = +byId("measure").value;
  byId("measure").addEventListener("change", (event) => { chosen.measure = +event.target.value; drawAtlas(); });
}
function go(at) {
  const index = data.spots.findIndex((spot) => spot.at.every((value, axis) => value === at[axis]));
  if (index >= 0) { chosen.spot = index; draw(); }
  else byId("where").textContent = `layer ${at[0]} was not computed at step ${at[2]}`;
}

// ---- all heads -----------------------------------------------------------------------------------------------------

function drawAtlas() {
  const spot = data.spots[chosen.spot];
  const step = data.steps.indexOf(spot.at[2]);
  const grid = data.atlas[step][chosen.measure], layers = grid.length, heads = grid[0].length;
  const cell = Math.max(9, Math.min(30, Math.floor(460 / heads), Math.floor(760 / layers)));
  const wide = Math.max(cell, Math.min(44, Math.floor(460 / heads)));
  const seen = grid.flat().filter((value) => value !== null);
  const high = Math.max(...seen, 1e-6), left = 34, top = 26;
  const parts = [`<text x="0" y="9">head →</text><text x="0" y="${top - 1}">layer</text>`];
  const everyHead = Math.ceil(16 / wide), everyLayer = Math.ceil(12 / cell);
  for (let head = 0; head < heads; head += everyHead) {
    parts.push(`<text x="${left + (head + 0.5) * wide}" y="${top - 4}" text-anchor="middle">${head}</text>`);
  }
  for (let layer = 0; layer < layers; layer += 1) {
    const y = top + layer * cell;
    if (layer % everyLayer === 0) parts.push(`<text x="${left - 8}" y="${y + cell / 2 + 4}" text-anchor="end">${layer}</text>`);
    for (let head = 0; head < heads; head += 1) {
      const value = grid[layer][head], x = left + head * wide;
      const mapped = data.spots.some((other) => other.at[0] === layer && other.at[1] === head);
      const share = value === null ? 0 : value / high, shade = value === null ? css("--cell") : `rgb(${colour(share)})`;
      const name = `layer ${layer}, head ${head}: ${value === null ? "not computed" : value.toFixed(3)}`;
      parts.push(`<rect x="${x}" y="${y}" width="${wide - 1.5}" height="${cell - 1.5}" rx="2" fill="${shade}" data-at="${layer},${head}"` +
        ` class="${mapped ? "mapped" : ""}"><title>${name}${mapped ? "; click for its maps" : ""}</title></rect>`);
      if (wide >= 30 && cell >= 18 && value !== null) {
        const [r, g, b] = colour(share), dark = 0.3 * r + 0.59 * g + 0.11 * b < 140;
        parts.push(`<text class="value ${dark ? "on-dark" : "on-light"}" x="${x + wide / 2 - 1}" y="${y + cell / 2 + 3}"` +
          ` text-anchor="middle">${value.toFixed(2).replace(/^0/, "")}</text>`);
      }
      if (mapped) parts.push(`<circle class="dot" cx="${x + wide - 6}" cy="${y + 4}" r="3"/>`);
      if (layer === spot.at[0] && head === spot.at[1]) {
        parts.push(`<rect class="here" x="${x - 1}" y="${y - 1}" width="${wide + 0.5}" height="${cell + 0.5}" rx="3"/>`);
      }
    }
  }
  const svg = byId("atlas"), size = [left + heads * wide + 4, top + layers * cell + 4];
  svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
  svg.setAttribute("width", size[0]);
  svg.setAttribute("height", size[1]);
  svg.innerHTML = parts.join("");
  byId("atlas-note").textContent = `Share of the softmax mass ${NAMES[data.measures[chosen.measure]]}, at step ${spot.at[2]}; ` +
    `darkest or brightest at ${high.toFixed(2)}. Heads with a dot have maps.`;
  if (data.measures[chosen.measure] === "spread") {
    byId("atlas-note").textContent = `exp(entropy) ÷ tokens at step ${spot.at[2]}: the share of all keys over which attention that wide ` +
      `would be spread evenly. Heads with a dot have maps.`;
  }
}
byId("atlas").addEventListener("click", (event) => {
  const at = event.target.dataset && event.target.dataset.at;
  if (at && event.target.classList.contains("mapped")) go([...at.split(",").map(Number), data.spots[chosen.spot].at[2]]);
});

function drawBars() {
  const spot = data.spots[chosen.spot];
  const rows = data.measures.map((name, i) => [name, spot.measures[i]]).filter(([name]) => name !== "recall" || spot.order);
  byId("bars").innerHTML = rows.map(([name, value]) => {
    const expected = name === "recall" ? spot.density : data.uniform[name];
    const tick = name === "spread" ? "" : `<u style="left:calc(${(100 * expected).toFixed(1)}% - 1px)" title="uniform: ${expected.toFixed(3)}"></u>`;
    return `<li><span>${NAMES[name]}</span><span class="track"><i style="width:${(100 * value).toFixed(1)}%"></i>${tick}</span>` +
      `<b>${value.toFixed(3)}</b></li>`;
  }).join("");
  const kind = spot.order ? `density ${spot.density.toFixed(3)}, recall ${spot.measures[0].toFixed(3)}` : "dense";
  byId("where").textContent = (spot.pattern ? `${spot.pattern}, ` : "") + kind;
  LEVELS.forEach((name, axis) => { byId(name).value = spot.at[axis]; });
}

// ---- maps ----------------------------------------------------------------------------------------------------------

const MARGIN = { left: 54, top: 6, right: 6, bottom: 36 };
const maps = [0, 1].map((order) => ({ canvas: byId(`map-${order}`), order, size: 0 }));

function ticks(order) { // [token, label] where something begins
  const found = [];
  let start = 0;
  for (const [kind, tokens] of data.segments) {
    if (kind !== "video") found.push([start + tokens / 2, kind]);
    else {
      const parts = order ? height : frames, each = tokens / parts;
      const every = Math.max(1, Math.ceil(parts / 6));
      for (let i = 0; i < parts; i += every) found.push([start + i * each, (order ? "row " : "frame ") + (i + 1), true]);
    }
    start += tokens;
  }
  return found;
}
async function drawMap(map) {
  const spot = data.spots[chosen.spot], at = chosen.spot;
  const attention = await readCodes(spot.attention[map.order]);
  const computed = spot.computed.length ? await readCodes(spot.computed[map.order]) : null;
  if (at !== chosen.spot) return; // another head was chosen meanwhile
  const [context, side] = sized(map.canvas, 1), cells = data.cells;
  map.size = side - MARGIN.left - MARGIN.right;
  map.attention = attention;
  map.computed = computed;
  const picture = new OffscreenCanvas(cells, cells), pixels = new ImageData(cells, cells), paper = ramp[0];
  const fade = computed && byId("fade").checked;
  for (let i = 0; i < cells * cells; i += 1) {
    const shade = colour(shareOf(attention[i])), kept = fade ? 0.25 + 0.75 * (computed[i] / 255) : 1;
    for (let part = 0; part < 3; part += 1) pixels.data[4 * i + part] = paper[part] + (shade[part] - paper[part]) * kept;
    pixels.data[4 * i + 3] = 255;
  }
  picture.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, MARGIN.left, MARGIN.top, map.size, map.size);
  context.strokeStyle = css("--line");
  context.strokeRect(MARGIN.left, MARGIN.top, map.size, map.size);
  if (computed) outline(context, computed, map.size / cells);
  axes(context, map);
}
function outline(context, computed, cell) {
  const cells = data.cells, inside = (r, c) => r >= 0 && c >= 0 && r < cells && c < cells && computed[r * cells + c] > 127;
  let edges = 0;
  context.beginPath();
  const edge = (x, y, to) => { context.moveTo(x, y); context.lineTo(...to); edges += 1; };
  for (let r = 0; r < cells; r += 1) {
    for (let c = 0; c < cells; c += 1) {
      if (!inside(r, c)) continue;
      const x = MARGIN.left + c * cell, y = MARGIN.top + r * cell;
      if (r && !inside(r - 1, c)) edge(x, y, [x + cell, y]);
      if (r < cells - 1 && !inside(r + 1, c)) edge(x, y + cell, [x + cell, y + cell]);
      if (c && !inside(r, c - 1)) edge(x, y, [x, y + cell]);
      if (c < cells - 1 && !inside(r, c + 1)) edge(x + cell, y, [x + cell, y + cell]);
    }
  }
  const scattered = edges > 16 * cells; // else the outline of a scattered mask would hide the map
  context.lineWidth = scattered ? 0.6 : 1.6;
  context.globalAlpha = scattered ? 0.5 : 1;
  context.lineCap = "square";
  context.strokeStyle = css("--outline");
  context.stroke();
  context.globalAlpha = 1;
}
function axes(context, map) {
  context.font = `11px ${css("--sans")}`;
  context.fillStyle = css("--muted");
  const span = data.cells * data.side, places = ticks(map.order), gap = map.size / places.length > 44 ? 1 : 2;
  places.forEach(([token, label, mark], i) => {
    const at = (token / span) * map.size;
    const text = mark && i > (places[0][2] ? 0 : 1) ? label.split(" ")[1] : label;
    if (mark) {
      context.fillRect(MARGIN.left + at, MARGIN.top + map.size, 1, 4);
      context.fillRect(MARGIN.left - 4, MARGIN.top + at, 4, 1);
    }
    context.textAlign = "right";
    context.fillText(text, MARGIN.left - 6, MARGIN.top + at + (mark ? 9 : 4));
    context.textAlign = mark ? "left" : "right";
    if (!mark || i % gap === 0) context.fillText(text, MARGIN.left + at, MARGIN.top + map.size + (mark ? 15 : 31));
  });
  context.textAlign = "left";
  context.fillText("keys →", MARGIN.left, MARGIN.top + map.size + 31);
  context.save();
  context.translate(10, MARGIN.top + map.size);
  context.rotate(-Math.PI / 2);
  context.textAlign = "left";
  context.fillText("← queries", 0, 0);
  context.restore();
}
function describeCell(map, event) {
  const box = map.canvas.getBoundingClientRect(), cell = map.size / data.cells;
  const c = Math.floor((event.clientX - box.left - MARGIN.left) / cell), r = Math.floor((event.clientY - box.top - MARGIN.top) / cell);
  if (c < 0 || r < 0 || c >= data.cells || r >= data.cells) return;
  const i = r * data.cells + c;
  const range = (at) => `${at * data.side}–${Math.min((at + 1) * data.side, data.tokens) - 1}`;
  byId("probe").textContent = `${map.order ? "token-major" : "frame-major"}: queries ${range(r)} on keys ${range(c)}: ` +
    `${ratioText(map.attention[i])} uniform attention` + (map.computed ? `, ${Math.round(map.computed[i] / 2.55)} % of it computed` : "");
}
for (const map of maps) {
  for (const kind of ["pointermove", "pointerdown"]) map.canvas.addEventListener(kind, (event) => describeCell(map, event));
}
function drawKey() {
  const canvas = byId("ramp"), context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    context.fillStyle = `rgb(${colour(x / canvas.width)})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
  byId("ramp-ends").textContent = `¼× to ${2 ** SHOWN[1]}× uniform`;
  byId("fade-choice").hidden = data.dense;
  const spot = data.spots[chosen.spot];
  const lines = { "frame-major": "in frame-major order", "token-major": "in token-major order" };
  byId("map-note").textContent = !spot.order ? "Dense: every pair was computed."
    : `The outline encloses cells of which more than half was computed. This head's mask was made of blocks ${lines[spot.order] || "in an order of its own"}` +
      `; in ${spot.order === "frame-major" ? "the other picture" : spot.order === "token-major" ? "the left picture" : "both pictures"} it is scattered.`;
}

// ---- one patch -----------------------------------------------------------------------------------------------------

const pictures = [];
const patchIndex = () => (chosen.frame * data.queries[1].length + chosen.row) * data.queries[2].length + chosen.column;
const patchAt = () => [data.queries[0][chosen.frame], data.queries[1][chosen.row], data.queries[2][chosen.column]];

function drawFrame(context, frame, wide, high) {
  context.imageSmoothingEnabled = pictures.length > 0 && pictures[0].width > 64;
  if (pictures[frame]) context.drawImage(pictures[frame], 0, 0, wide, high);
  else { context.fillStyle = css("--cell"); context.fillRect(0, 0, wide, high); }
}
function drawQuery() {
  const [context, wide, high] = sized(byId("query"), height / width);
  const [frame, row, column] = patchAt(), cell = [wide / width, high / height];
  drawFrame(context, frame, wide, high);
  context.strokeStyle = "rgba(255,255,255,.28)";
  context.lineWidth = 1;
  context.beginPath();
  const edges = (values, extent) => values.slice(1).map((value, i) => Math.ceil((value + values[i]) / 2 + 0.01)).filter((edge) => edge < extent);
  for (const x of edges(data.queries[2], width)) { context.moveTo(x * cell[0], 0); context.lineTo(x * cell[0], high); }
  for (const y of edges(data.queries[1], height)) { context.moveTo(0, y * cell[1]); context.lineTo(wide, y * cell[1]); }
  context.stroke();
  mark(context, column, row, cell);
  byId("patch").textContent = `Query: frame ${frame + 1}, row ${row + 1}, column ${column + 1}. ` +
    `${(100 * data.outside[chosen.spot][patchIndex()]).toFixed(1)} % of its mass lies outside the video.`;
}
function mark(context, column, row, cell) {
  for (const [style, line] of [["#000", 4], ["#fff", 2]]) {
    context.strokeStyle = style;
    context.lineWidth = line;
    context.strokeRect(column * cell[0], row * cell[1], Math.max(cell[0], 5), Math.max(cell[1], 5));
  }
}
async function drawAnswer() {
  const at = chosen.spot, all = await readCodes(data.patches[at]);
  if (at !== chosen.spot) return;
  const [parts, rows, columns] = data.cellGrid, count = parts * rows * columns;
  const mine = all.subarray(patchIndex() * count, (patchIndex() + 1) * count);
  const [own, row, column] = patchAt(), masses = [];
  for (let frame = 0; frame < frames; frame += 1) {
    const start = Math.floor(frame / data.pool[0]) * rows * columns;
    let mass = 0;
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) {
        const tokens = Math.min(data.pool[1], height - y * data.pool[1]) * Math.min(data.pool[2], width - x * data.pool[2]);
        mass += (ratioOf(mine[start + y * columns + x]) * tokens) / data.tokens;
      }
    }
    masses.push(mass);
  }
  const most = Math.max(...masses);
  byId("answer").childNodes.forEach((tile, frame) => {
    const [context, wide, high] = sized(tile.firstChild, height / width);
    drawFrame(context, frame, wide, high);
    context.fillStyle = "rgba(10,10,14,.5)";
    context.fillRect(0, 0, wide, high);
    const start = Math.floor(frame / data.pool[0]) * rows * columns, cell = [wide / width, high / height];
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) {
        const share = logOf(mine[start + y * columns + x]) / SHOWN[1];
        if (share <= 0) continue;
        context.fillStyle = heat(share);
        context.fillRect(x * data.pool[2] * cell[0], y * data.pool[1] * cell[1],
          Math.min(data.pool[2] * cell[0], wide) + 0.5, Math.min(data.pool[1] * cell[1], high) + 0.5);
      }
    }
    if (frame === own) mark(context, column, row, cell);
    tile.className = frame === own ? "own" : "";
    tile.children[1].firstChild.style.width = `${(100 * masses[frame]) / most}%`;
    tile.children[2].lastChild.textContent = `${(100 * masses[frame]).toFixed(1)} %`;
  });
}
function heat(share) { // from clear violet to opaque yellow, the same on light and dark pages
  const stops = [[110, 50, 160], [200, 60, 110], [240, 130, 50], [255, 236, 140]];
  const at = Math.min(share, 0.9999) * 3, low = Math.floor(at);
  const mixed = stops[low].map((part, i) => Math.round(part + (stops[low + 1][i] - part) * (at - low)));
  return `rgba(${mixed},${Math.min(1, 0.25 + share * 1.1)})`;
}
function buildTiles() {
  for (let frame = 0; frame < frames; frame += 1) {
    const tile = document.createElement("div");
    tile.innerHTML = `<canvas></canvas><div class="bar"><i></i></div><span><em>frame ${frame + 1}</em><b></b></span>`;
    byId("answer").append(tile);
  }
  data.queries[0].forEach((frame, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `frame ${frame + 1}`;
    button.addEventListener("click", () => { chosen.frame = i; drawPatch(); });
    byId("strip").append(button);
  });
  chosen.row = data.queries[1].length >> 1;
  chosen.column = data.queries[2].length >> 1;
  chosen.frame = data.queries[0].length >> 1;
}
function nearest(values, wanted) {
  return values.reduce((best, value, i) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? i : best), 0);
}
byId("query").addEventListener("click", (event) => {
  const box = event.target.getBoundingClientRect();
  chosen.column = nearest(data.queries[2], ((event.clientX - box.left) / box.width) * width - 0.5);
  chosen.row = nearest(data.queries[1], ((event.clientY - box.top) / box.height) * height - 0.5);
  drawPatch();
});
byId("query").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: ["column", -1], ArrowRight: ["column", 1], ArrowUp: ["row", -1], ArrowDown: ["row", 1] };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const [axis, by] = moves[event.key], last = data.queries[axis === "row" ? 1 : 2].length - 1;
  chosen[axis] = Math.min(Math.max(chosen[axis] + by, 0), last);
  drawPatch();
});
function drawPatch() {
  [...byId("strip").children].forEach((button, i) => button.setAttribute("aria-pressed", i === chosen.frame));
  drawQuery();
  return drawAnswer();
}

// ---- everything ----------------------------------------------------------------------------------------------------

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
