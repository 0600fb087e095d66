// Axial slices of a volume with a map over them. Data: the json in each section's script.voxels, see page.packed.
"use strict";

async function unpacked(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Kind(await new Response(stream).arrayBuffer());
}

// Inferno, eight stops, linear between them; alpha is set by the overlay.
const STOPS = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];
const COLOURS = Array.from({ length: 256 }, (_, value) => {
  const place = (value / 255) * (STOPS.length - 1), first = Math.min(Math.floor(place), STOPS.length - 2), share = place - first;
  return STOPS[first].map((channel, number) => channel + (STOPS[first + 1][number] - channel) * share);
});

const between = (value, low, high) => Math.min(high, Math.max(low, value));

function hottest(map, first, length) {
  let most = 0, sum = 0;
  for (let place = first; place < first + length; place++) { most = Math.max(most, map[place]); sum += map[place]; }
  return most + sum / (256 * length); // of slices that are as hot the one with more of it
}

async function start(section) {
  const data = JSON.parse(section.querySelector(".voxels").textContent);
  const [slices, rows, columns] = data.shape;
  const values = await unpacked(data.values, Int16Array);
  const maps = {};
  for (const title of Object.keys(data.maps)) maps[title] = await unpacked(data.maps[title], Uint8Array);
  const find = (name) => section.querySelector(name);
  const canvas = find("canvas"), slider = find(".slice"), opacity = find(".opacity"), chosen = find(".map");
  const presets = Object.entries(data.presets);
  const state = { slice: data.start, low: presets[0][1][0], high: presets[0][1][1] };
  // Pixels are square on the screen: the longer mm gets more of them.
  const [, tall, wide] = data.spacing, fine = Math.min(tall, wide);
  canvas.width = Math.round((columns * wide) / fine);
  canvas.height = Math.round((rows * tall) / fine);
  const raw = new OffscreenCanvas(columns, rows), pen = raw.getContext("2d"), picture = pen.createImageData(columns, rows);
  const screen = canvas.getContext("2d");

  function draw() {
    const first = state.slice * rows * columns, overlay = chosen ? maps[chosen.value] : null;
    const strength = opacity ? opacity.value / 100 : 0, span = Math.max(state.high - state.low, 1e-6), cut = 255 * CUT;
    for (let place = 0; place < rows * columns; place++) {
      const grey = between(((values[first + place] * data.scale + data.offset - state.low) / span) * 255, 0, 255);
      const heat = overlay ? overlay[first + place] : 0, alpha = heat > 0 && heat >= cut ? strength : 0, colour = COLOURS[heat];
      for (let channel = 0; channel < 3; channel++) picture.data[4 * place + channel] = grey + (colour[channel] - grey) * alpha;
      picture.data[4 * place + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
    screen.drawImage(raw, 0, 0, canvas.width, canvas.height);
    slider.value = state.slice + 1;
    find(".slice-number").textContent = `${state.slice + 1} of ${slices}${data.labels.length ? `: ${data.labels[state.slice]}` : ""}`;
    find(".window").textContent = `${shown(state.low)} to ${shown(state.high)} ${data.unit}`.trim();
    if (opacity) find(".opacity-number").textContent = `${opacity.value} %`;
    canvas.setAttribute("aria-label", `${data.name}, ${data.oriented ? "axial slice" : "picture"} ${state.slice + 1} of ${slices}`);
    for (const button of section.querySelectorAll("[data-preset]")) {
      const [low, high] = data.presets[button.dataset.preset];
      button.setAttribute("aria-pressed", String(low === state.low && high === state.high));
    }
    section.dispatchEvent(new CustomEvent("shown", { detail: state.slice }));
  }
  const shown = (value) => (data.unit ? value.toFixed(0) : value.toPrecision(3));
  function move(by) { state.slice = between(state.slice + by, 0, slices - 1); draw(); }
  function window_(low, high) { state.low = low; state.high = high; draw(); }
  function fade(by) { if (opacity) { opacity.value = between(Number(opacity.value) + by, 0, 100); draw(); } }

  section.addEventListener("show", (event) => { state.slice = between(event.detail, 0, slices - 1); draw(); });
  section.addEventListener("map", (event) => {
    chosen.value = event.detail;
    const sums = Array.from({ length: slices }, (_, slice) => hottest(maps[event.detail], slice * rows * columns, rows * columns));
    state.slice = sums.indexOf(Math.max(...sums));
    draw();
  });
  slider.addEventListener("input", () => { state.slice = slider.value - 1; draw(); });
  if (opacity) opacity.addEventListener("input", draw);
  if (chosen) chosen.addEventListener("change", draw);
  for (const button of section.querySelectorAll("[data-preset]"))
    button.addEventListener("click", () => window_(...data.presets[button.dataset.preset]));
  canvas.addEventListener("wheel", (event) => {
    if (slices === 1 || event.ctrlKey) return;
    event.preventDefault();
    move(event.deltaY > 0 ? 1 : -1);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -slices, End: slices };
    const number = Number(event.key);
    if (event.key in steps) move(steps[event.key]);
    else if (event.key === "+" || event.key === "=") fade(10);
    else if (event.key === "-") fade(-10);
    else if (number >= 1 && number <= presets.length) window_(...presets[number - 1][1]);
    else return;
    event.preventDefault();
  });
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { x: event.clientX, y: event.clientY, low: state.low, high: state.high }; });
  addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (held) {
      const width = held.high - held.low, step = width / 200;
      const middle = (held.low + held.high) / 2 + (event.clientY - held.y) * step;
      const half = Math.max(width / 2 + (event.clientX - held.x) * step, width / 100);
      window_(middle - half, middle + half);
      return;
    }
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows), column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    const place = (state.slice * rows + row) * columns + column, heat = chosen ? maps[chosen.value][place] / 255 : null;
    find(".readout").textContent = `${shown(values[place] * data.scale + data.offset)} ${data.unit}` + (heat === null ? "" : `, map ${heat.toFixed(2)}`);
  });
  canvas.addEventListener("pointerleave", () => { find(".readout").textContent = ""; });
  draw();
  section.dataset.ready = "yes";
}

for (const section of document.querySelectorAll(".viewer")) start(section);
