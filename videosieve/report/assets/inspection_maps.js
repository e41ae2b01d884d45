// The two maps of the chosen head, their axes, the outline of its mask, and the cell under the pointer.
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
      for (let i = 0; i < parts; i += every) found.push([start + i * each, (order ? "row " : "frame ") + i, true]);
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
  context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
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
