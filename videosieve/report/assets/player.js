// One clock for all videos of a scene: the first one leads, the others are pulled back when they drift.
// Only videos that can be seen play; one that appears is put where the others are.

function player(root) {
  const fps = Number(root.dataset.fps), frames = Number(root.dataset.frames);
  const button = root.querySelector(".play"), scrubber = root.querySelector(".scrubber");
  const screens = all(".screen", root), lead = root.querySelector("video");
  const shown = (screen) => screen.querySelector(screen.classList.contains("differing") ? ".difference" : ".plain");
  const videos = () => screens.map(shown);
  let frame = 0, playing = false;

  const show = (number) => {
    frame = number;
    const words = placeName("frame", frame, frames);
    scrubber.value = frame;
    scrubber.setAttribute("aria-valuetext", words);
    root.querySelector(".clock").textContent = words;
    mark([root], "frame", frame);
  };
  const follow = () => {
    if (!playing) return;
    for (const video of videos())
      if (video !== lead && Math.abs(video.currentTime - lead.currentTime) > 0.5 / fps) video.currentTime = lead.currentTime;
    show(Math.min(frames - 1, Math.floor(lead.currentTime * fps + 0.01)));
    requestAnimationFrame(follow);
  };
  const state = (value) => {
    playing = value;
    root.classList.toggle("playing", playing);
    button.setAttribute("aria-label", playing ? "pause" : "play");
  };
  const pause = () => {
    state(false);
    for (const video of all("video", root)) video.pause();
  };
  const play = async () => {
    state(true);
    await Promise.allSettled(videos().map((video) => video.play())); // a pause may overtake the start
    follow();
  };
  const seek = (number) => {
    pause();
    show(Math.max(0, Math.min(frames - 1, number)));
    for (const video of videos()) video.currentTime = (frame + 0.5) / fps;
  };
  const differ = (screen, value) => {
    if (!screen.querySelector(".difference") || screen.classList.contains("differing") === value) return;
    const time = lead.currentTime, rate = Number(root.querySelector(".rate").value);
    if (shown(screen) !== lead) shown(screen).pause();
    screen.classList.toggle("differing", value);
    screen.querySelector(".show-difference").setAttribute("aria-pressed", value);
    const video = shown(screen);
    video.playbackRate = rate;
    video.currentTime = playing ? time : (frame + 0.5) / fps;
    if (playing) video.play().catch(() => {});
    const able = screens.filter((each) => each.querySelector(".difference"));
    root.querySelector(".all-differences").checked = able.every((each) => each.classList.contains("differing"));
  };
  // A hidden scene keeps its videos as text until it is chosen. A seek replaces the poster, the middle frame, by this frame.
  const wake = () => {
    for (const video of all("video[data-src]", root)) {
      video.src = video.dataset.src;
      video.removeAttribute("data-src");
    }
    for (const video of all("video", root)) {
      const start = () => (video.currentTime = (frame + 0.5) / fps);
      video.readyState > 1 ? start() : video.addEventListener("loadeddata", start, { once: true });
    }
  };
  const toggle = () => (playing ? pause() : play());

  button.addEventListener("click", toggle);
  scrubber.addEventListener("input", () => seek(Number(scrubber.value)));
  root.querySelector(".rate").addEventListener("change", (event) => videos().forEach((video) => (video.playbackRate = Number(event.target.value))));
  const everything = root.querySelector(".all-differences");
  const differAll = (value) => screens.forEach((screen) => differ(screen, value));
  everything?.addEventListener("change", () => differAll(everything.checked));
  for (const screen of screens) {
    screen.addEventListener("click", toggle);
    screen.querySelector(".show-difference")?.addEventListener("click", (event) => {
      event.stopPropagation();
      differ(screen, !screen.classList.contains("differing"));
    });
  }
  clickable(root, "frame", seek);
  show(0);
  return { pause, toggle, wake, move: (by) => seek(frame + by), differ: () => everything && differAll(!everything.checked) };
}
