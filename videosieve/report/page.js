"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// One clock for all videos of a scene: the first video leads, the others are pulled back when they drift.
function player(root, charts) {
  const fps = Number(root.dataset.fps), videos = all("video", root), lead = videos[0];
  const button = root.querySelector(".play"), scrubber = root.querySelector(".scrubber");
  const frames = Number(scrubber.max) + 1;
  const show = (frame) => {
    root.querySelector(".clock").textContent = `frame ${frame + 1} of ${frames}`;
    for (const output of all("[data-psnr]", root)) output.textContent = `this frame ${output.dataset.psnr.split(" ")[frame]}`;
    for (const line of all(".cursor", charts)) {
      const { left, right } = line.dataset, part = frames > 1 ? frame / (frames - 1) : 0.5;
      const x = Number(left) + (Number(right) - Number(left)) * part;
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
  };
  const follow = () => {
    for (const video of videos) if (Math.abs(video.currentTime - lead.currentTime) > 0.5 / fps) video.currentTime = lead.currentTime;
    const frame = Math.min(frames - 1, Math.floor(lead.currentTime * fps + 0.01));
    scrubber.value = frame;
    show(frame);
    if (!lead.paused) requestAnimationFrame(follow);
  };
  const pause = () => {
    for (const video of videos) video.pause();
    root.classList.remove("playing");
    button.setAttribute("aria-label", "play");
  };
  const play = async () => {
    root.classList.add("playing");
    button.setAttribute("aria-label", "pause");
    await Promise.all(videos.map((video) => video.play()));
    follow();
  };
  button.addEventListener("click", () => (lead.paused ? play() : pause()));
  scrubber.addEventListener("input", () => {
    pause();
    const frame = Number(scrubber.value);
    for (const video of videos) video.currentTime = (frame + 0.5) / fps;
    show(frame);
  });
  root.querySelector(".rate").addEventListener("change", (event) => videos.forEach((video) => (video.playbackRate = Number(event.target.value))));
  root.querySelector(".show-difference").addEventListener("change", (event) => root.classList.toggle("differing", event.target.checked));
  // A seek replaces the poster, which is the middle frame, by the first frame.
  const start = (video) => (video.currentTime = 0.5 / fps);
  for (const video of videos) video.readyState > 1 ? start(video) : video.addEventListener("loadeddata", () => start(video), { once: true });
  show(0);
  return { pause, toggle: () => button.click(), visible: () => !root.hidden };
}

function atlas(root) {
  const { patterns, colours, choice } = JSON.parse(root.querySelector("script").textContent);
  const cells = all(".cell", root).map((cell) => [cell, cell.getAttribute("style")]);
  const bars = all(".strip > div", root), output = root.querySelector("output"), everything = output.textContent;
  root.querySelector("input").addEventListener("input", (event) => {
    const step = Number(event.target.value) - 1;
    bars.forEach((bar, index) => bar.classList.toggle("now", index === step));
    for (const [cell, shares] of cells) {
      const mark = step < 0 ? "" : choice[step][cell.dataset.layer][cell.dataset.head];
      cell.setAttribute("style", step < 0 ? shares : `fill: ${mark === "-" ? "var(--cell)" : colours[mark]}`);
    }
    const row = step < 0 ? "" : choice[step].join("");
    const counts = patterns.map((name, index) => [name, row.split(String(index)).length - 1]).filter(([, count]) => count);
    const text = counts.map(([name, count]) => `${count} ${name}`).join(", ") || "all dense";
    output.textContent = step < 0 ? everything : `step ${step + 1} of ${choice.length}: ${text}`;
  });
}

const scenes = all(".scene.player"), details = all(".scene:not(.player)");
const players = scenes.map((scene, index) => player(scene, details[index]));
all(".atlas").forEach(atlas);
document.getElementById("scene")?.addEventListener("change", (event) => {
  for (const each of players) each.pause();
  for (const group of [scenes, details]) group.forEach((scene, index) => (scene.hidden = index !== Number(event.target.value)));
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("button, input, select, summary")) return;
  event.preventDefault();
  players.find((each) => each.visible())?.toggle();
});
