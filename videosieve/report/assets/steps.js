// The step slider: its left end shows all steps, a number one of them, in the curves and in every atlas.
function steps(root) {
  const slider = root.querySelector(".stepper input"), label = root.querySelector(".stepper .at");
  const everything = label.textContent, atlases = all(".atlas", root).map(atlas);
  const show = (index) => {
    const words = index < 0 ? everything : placeName("step", index, Number(slider.max) + 1);
    slider.value = index;
    slider.setAttribute("aria-valuetext", words);
    label.textContent = words;
    mark([root], "step", index);
    for (const each of atlases) each(index);
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  clickable(root, "step", show);
  all(".strip", root).forEach((strip) => [...strip.children].forEach((bar, index) => bar.addEventListener("click", () => show(index))));
}

function atlas(root) {
  const { patterns, colours, choice } = JSON.parse(root.querySelector("script").textContent);
  const cells = all(".cell", root).map((cell) => [cell, cell.getAttribute("style")]);
  const bars = all(".strip > div", root), census = root.querySelector(".census"), everything = census.textContent;
  return (index) => {
    bars.forEach((bar, number) => bar.classList.toggle("now", number === index));
    for (const [cell, shares] of cells) {
      const pattern = index < 0 ? "" : choice[index][cell.dataset.layer][cell.dataset.head];
      cell.setAttribute("style", index < 0 ? shares : `fill: ${pattern === "-" ? "var(--cell)" : colours[pattern]}`);
    }
    const row = index < 0 ? "" : choice[index].join("");
    const counts = patterns.map((name, number) => [name, row.split(String(number)).length - 1]).filter(([, count]) => count);
    const words = counts.map(([name, count]) => `${count} ${name}`).join(", ") || "all heads dense";
    census.textContent = index < 0 ? everything : `step ${index}: ${words}`;
  };
}
