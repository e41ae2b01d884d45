// Where one patch looks: the frame to choose it in, and every frame with what it attends to.
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
  context.strokeStyle = css("--on-screen") + "47";
  context.lineWidth = 1;
  context.beginPath();
  const edges = (values, extent) => values.slice(1).map((value, i) => Math.ceil((value + values[i]) / 2 + 0.01)).filter((edge) => edge < extent);
  for (const x of edges(data.queries[2], width)) { context.moveTo(x * cell[0], 0); context.lineTo(x * cell[0], high); }
  for (const y of edges(data.queries[1], height)) { context.moveTo(0, y * cell[1]); context.lineTo(wide, y * cell[1]); }
  context.stroke();
  mark(context, column, row, cell);
  byId("patch").textContent = `Query: frame ${frame}, row ${row}, column ${column}. ` +
    `${(100 * data.outside[chosen.spot][patchIndex()]).toFixed(1)} % of its mass lies outside the video.`;
}
function mark(context, column, row, cell) {
  for (const [style, line] of [[css("--under-screen"), 4], [css("--on-screen"), 2]]) {
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
    context.fillStyle = css("--under-screen") + "80";
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
function heat(share) { // the more, the less of the picture is seen through it
  return `rgba(${mixed(overlay, share)},${Math.min(1, 0.25 + share * 1.1)})`;
}
function buildTiles() {
  for (let frame = 0; frame < frames; frame += 1) {
    const tile = document.createElement("div");
    tile.innerHTML = `<canvas></canvas><div class="bar"><i></i></div><span><em>frame ${frame}</em><b></b></span>`;
    byId("answer").append(tile);
  }
  data.queries[0].forEach((frame, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `frame ${frame}`;
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
