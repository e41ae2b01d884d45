// Cursors and readings of every chart with the same axis follow one number; a click or a drag in a chart sets it.
function mark(roots, axis, index) {
  for (const root of roots) {
    for (const plot of all(`.plot[data-axis=${axis}]`, root)) {
      const cursor = plot.querySelector(".cursor");
      cursor.hidden = index < 0;
      cursor.style.left = `${(100 * (index + 0.5)) / Number(plot.dataset.count)}%`;
    }
    for (const reading of all(`[data-values][data-axis=${axis}]`, root))
      reading.textContent = index < 0 ? reading.dataset.all : reading.dataset.values.split(" ")[index];
  }
}

function clickable(root, axis, choose) {
  for (const plot of all(`.plot[data-axis=${axis}]`, root)) {
    const at = (event) => {
      const box = plot.getBoundingClientRect(), count = Number(plot.dataset.count);
      choose(Math.max(0, Math.min(count - 1, Math.floor((count * (event.clientX - box.left)) / box.width))));
    };
    plot.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      plot.setPointerCapture(event.pointerId);
      at(event);
    });
    plot.addEventListener("pointermove", (event) => event.buttons & 1 && plot.hasPointerCapture(event.pointerId) && at(event));
  }
}
