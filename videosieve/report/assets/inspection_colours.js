// What the page was given, what is chosen, and how codes become colours. These files are one script, in this order.
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
let ramp = [], overlay = []; // on paper, over pictures

// ---- colours and pictures ------------------------------------------------------------------------------------------

function stopsOf(name) {
  const stops = getComputedStyle(document.documentElement).getPropertyValue(name).split(",");
  return stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.trim().slice(at, at + 2), 16)));
}
function readRamp() {
  ramp = stopsOf("--amount");
  overlay = stopsOf("--heat");
}
function mixed(stops, share) {
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
  return stops[low].map((part, i) => Math.round(part + (stops[low + 1][i] - part) * (at - low)));
}
const colour = (share) => mixed(ramp, share);
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
