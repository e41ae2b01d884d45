// Choosing a head, and all heads: their table and the measures of the chosen one.
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
