"use strict";
// Starts every .viewer of the page (viewer.html). Buttons with data-file anywhere in the same .comparison choose a
// file too. A page with a single viewer keeps its state in the address, so that a view can be linked:
//   #view=slider|difference|side & file=1.. & zoom=fit|0.5|1|2.. & split=0..100 & x=0..100 & y=0..100 (centre) & gain=1..64
{
  const LARGEST_ZOOM = 32;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const viewers = document.querySelectorAll(".viewer");
  const alone = viewers.length === 1;

  function start(viewer) {
    const find = (selector) => viewer.querySelector(selector);
    const stage = find(".stage");
    const before = find(".before");
    const afters = [...viewer.querySelectorAll(".after")];
    const captions = [...viewer.querySelectorAll(".caption.right")];
    const canvas = find(".difference");
    const sides = find(".sides");
    const panes = [before, ...afters].map((image, index) => pane(image, viewer.querySelectorAll(".caption")[index]));
    const split = find(".split");
    const gain = find(".gain input");
    const comparison = viewer.closest(".comparison") ?? viewer;
    const width = before.width;
    const height = before.height;
    // The centre of the view is a place in the picture, 0..1, so that it stays when the window or the zoom changes.
    const state = { view: "slider", file: 1, zoom: "fit", split: 50, x: 0.5, y: 0.5, gain: 8 };
    let drawn = ""; // what the canvas shows
    let place = {}; // of the picture in the stage, CSS pixels

    function pane(image, caption) {
      const [whole, box] = [document.createElement("div"), document.createElement("div")];
      const [copy, text] = [image.cloneNode(), caption.cloneNode(true)];
      copy.removeAttribute("class");
      text.removeAttribute("class");
      copy.hidden = text.hidden = false;
      box.append(copy);
      whole.append(box, text);
      sides.append(whole);
      return { box, copy };
    }

    // --- Drawing ---

    // One picture pixel is one pixel of the screen at 1, whatever the screen's density.
    function fit() {
      const zoom = Math.min(stage.clientWidth / width, stage.clientHeight / height) * devicePixelRatio;
      return zoom >= 1 ? Math.floor(zoom) : zoom;
    }

    function zoom() {
      return state.zoom === "fit" ? fit() : state.zoom;
    }

    // Where a length begins in its room, so that its centre is in the middle as far as its ends allow.
    function along(room, length, centre) {
      const start = length <= room ? (room - length) / 2 : clamp(room / 2 - centre * length, room - length, 0);
      return Math.round(start * devicePixelRatio) / devicePixelRatio;
    }

    function layOut() {
      const scale = zoom() / devicePixelRatio;
      const [w, h] = [width * scale, height * scale];
      const left = along(stage.clientWidth, w, state.x);
      const top = along(stage.clientHeight, h, state.y);
      const first = Math.max(left, 0); // the split moves over the part of the picture that is in view
      const last = Math.min(left + w, stage.clientWidth);
      place = { left, top, w, h, first, last, split: first + ((last - first) * state.split) / 100 };
    }

    function drawSides() {
      const count = panes.length;
      sides.style.setProperty("--columns", count < 4 ? count : count === 4 ? 2 : 3);
      for (const { box, copy } of panes) {
        box.style.height = `${Math.min((box.clientWidth * height) / width, innerHeight * 0.74)}px`;
        const fitting = Math.min(box.clientWidth / width, box.clientHeight / height);
        const scale = state.zoom === "fit" ? fitting : state.zoom / devicePixelRatio;
        copy.style.width = `${width * scale}px`;
        copy.style.left = `${along(box.clientWidth, width * scale, state.x)}px`;
        copy.style.top = `${along(box.clientHeight, height * scale, state.y)}px`;
        copy.style.imageRendering = scale * devicePixelRatio > 1 ? "pixelated" : "auto";
      }
    }

    function draw() {
      const beside = state.view === "side";
      stage.hidden = beside;
      sides.hidden = !beside;
      // As tall as the picture would be across the whole stage, within reason.
      stage.style.height = `${clamp((stage.clientWidth * height) / width, 220, Math.max(220, innerHeight * 0.74))}px`;
      layOut();
      const lengths = { left: place.left, top: place.top, width: place.w, height: place.h, split: place.split };
      for (const [name, length] of Object.entries(lengths)) stage.style.setProperty(`--${name}`, `${length}px`);
      stage.classList.toggle("larger", place.w > stage.clientWidth + 1 || place.h > stage.clientHeight + 1);
      stage.classList.toggle("enlarged", zoom() > 1);

      const differing = state.view === "difference";
      afters.forEach((image, index) => (image.hidden = differing || index !== state.file - 1));
      captions.forEach((caption, index) => (caption.hidden = index !== state.file - 1));
      before.hidden = split.hidden = differing;
      canvas.hidden = find(".gain").hidden = !differing;
      split.setAttribute("aria-valuenow", Math.round(state.split));
      gain.value = Math.log2(state.gain);
      find(".gain output").value = `${state.gain}\u00d7`;
      find(".scale").value = `${zoom() < 1 ? (zoom() * 100).toFixed(0) : Math.round(zoom() * 100)} %`;

      const press = (buttons, name, value) =>
        buttons.forEach((button) => button.setAttribute("aria-pressed", button.dataset[name] === String(value)));
      press(viewer.querySelectorAll("[data-view]"), "view", state.view);
      press(viewer.querySelectorAll("[data-zoom]"), "zoom", state.zoom);
      press(comparison.querySelectorAll("button[data-file]"), "file", state.file);
      comparison
        .querySelectorAll("td[data-file], th[data-file]")
        .forEach((cell) => cell.classList.toggle("chosen", cell.dataset.file === String(state.file)));
      if (differing) drawDifference();
      if (beside) drawSides();
      remember();
    }

    async function drawDifference() {
      const wanted = `${state.file} ${state.gain}`;
      if (drawn === wanted) return;
      drawn = wanted;
      const after = afters[state.file - 1];
      await Promise.all([before.decode(), after.decode()]);
      if (drawn !== wanted) return; // something else was asked for meanwhile
      const [one, other] = [pixels(before), pixels(after)];
      for (let i = 0; i < one.data.length; i += 4) {
        for (let c = i; c < i + 3; c++) one.data[c] = Math.abs(one.data[c] - other.data[c]) * state.gain; // clamped
      }
      canvas.width = width;
      canvas.height = height;
      canvas.getContext("2d").putImageData(one, 0, 0);
    }

    function pixels(image) {
      const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(image, 0, 0);
      return copy.getImageData(0, 0, width, height);
    }

    // --- Changing ---

    function change(changes) {
      Object.assign(state, changes);
      draw();
    }

    function splitAt(x) {
      const { first, last } = place;
      change({ split: clamp(((x - first) / (last - first)) * 100, 0, 100) });
    }

    // To another zoom; what lies under the point (x, y) of the stage stays there.
    function zoomAt(x, y, wanted) {
      const [u, v] = [(x - place.left) / place.w, (y - place.top) / place.h];
      state.zoom = clamp(wanted, Math.min(fit(), 1), LARGEST_ZOOM);
      const scale = zoom() / devicePixelRatio;
      centre(u + (stage.clientWidth / 2 - x) / (width * scale), v + (stage.clientHeight / 2 - y) / (height * scale));
    }

    function zoomBy(factor) {
      if (state.view === "side") {
        change({ zoom: clamp((state.zoom === "fit" ? 1 : state.zoom) * factor, 0.1, LARGEST_ZOOM) });
        return;
      }
      zoomAt(stage.clientWidth / 2, stage.clientHeight / 2, zoom() * factor);
    }

    // No further than the picture's edges reach: else a drag back would do nothing at first.
    function centre(x, y) {
      const scale = zoom() / devicePixelRatio;
      const inside = (value, room, length) => {
        const half = Math.min(room / length / 2, 0.5);
        return clamp(value, half, 1 - half);
      };
      change({
        x: inside(x, stage.clientWidth, width * scale),
        y: inside(y, stage.clientHeight, height * scale),
      });
    }

    // --- Pointers: a drag moves the split; in a picture larger than the stage, it pans unless it began at the split ---

    const pointers = new Map();
    let movesSplit = false;

    const inStage = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };

    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault(); // no selection, no dragged picture
      split.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, inStage(event));
      const larger = stage.classList.contains("larger");
      movesSplit = state.view === "slider" && pointers.size === 1 && (!larger || event.target === split);
      stage.classList.toggle("dragged", larger && !movesSplit);
      if (movesSplit) splitAt(inStage(event).x);
    });

    stage.addEventListener("pointermove", (event) => {
      const from = pointers.get(event.pointerId);
      if (!from) return;
      const to = inStage(event);
      pointers.set(event.pointerId, to);
      const rest = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (rest) {
        const distance = (point) => Math.hypot(point.x - rest.x, point.y - rest.y) || 1;
        zoomAt((to.x + rest.x) / 2, (to.y + rest.y) / 2, (zoom() * distance(to)) / distance(from));
      } else if (movesSplit) {
        splitAt(to.x);
      } else {
        centre(state.x - (to.x - from.x) / place.w, state.y - (to.y - from.y) / place.h);
      }
    });

    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => {
        pointers.delete(event.pointerId);
        if (!pointers.size) stage.classList.remove("dragged");
      });
    }

    stage.addEventListener(
      "wheel",
      (event) => {
        // Among several viewers the wheel scrolls the page, until a viewer was clicked.
        if (!alone && !event.ctrlKey && !viewer.contains(document.activeElement)) return;
        event.preventDefault();
        const { x, y } = inStage(event);
        zoomAt(x, y, zoom() * 2 ** (-event.deltaY * (event.deltaMode ? 16 : 1) * 0.004));
      },
      { passive: false },
    );

    sides.addEventListener("pointermove", (event) => {
      if (!(event.buttons & 1) || state.zoom === "fit") return;
      const scale = state.zoom / devicePixelRatio;
      const [x, y] = [state.x - event.movementX / (width * scale), state.y - event.movementY / (height * scale)];
      change({ x: clamp(x, 0, 1), y: clamp(y, 0, 1) });
    });

    // --- Keys and buttons ---

    (alone ? document : viewer).addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target === gain) return;
      const step = event.shiftKey ? 10 : 2;
      const actions = {
        ArrowLeft: () => change({ split: Math.max(state.split - step, 0) }),
        ArrowRight: () => change({ split: Math.min(state.split + step, 100) }),
        Home: () => change({ split: 0 }),
        End: () => change({ split: 100 }),
        d: () => change({ view: state.view === "slider" ? "difference" : "slider" }),
        s: () => change({ view: state.view === "side" ? "slider" : "side" }),
        f: () => change({ zoom: "fit" }),
        "+": () => zoomBy(2),
        "-": () => zoomBy(0.5),
      };
      const file = Number(event.key);
      if (file >= 1 && file <= afters.length) change({ file });
      else if (Object.hasOwn(actions, event.key)) actions[event.key]();
      else return;
      event.preventDefault();
    });

    comparison.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { view, zoom: wanted, file } = button.dataset;
      if (view) change({ view });
      if (file) change({ file: Number(file) });
      if (wanted === "fit") change({ zoom: "fit" });
      else if (wanted) {
        state.zoom = Number(wanted);
        centre(state.x, state.y);
      }
    });

    gain.addEventListener("input", () => change({ gain: 2 ** gain.value }));

    // --- The address ---

    let timer = 0;

    function remember() {
      if (!alone) return;
      const { view, file, zoom, gain } = state;
      const whole = { split: state.split, x: state.x * 100, y: state.y * 100 };
      const parts = { view, file, zoom, gain };
      for (const [name, value] of Object.entries(whole)) parts[name] = Math.round(value * 10) / 10;
      clearTimeout(timer); // browsers refuse too many changes in a row
      timer = setTimeout(() => history.replaceState(null, "", `#${new URLSearchParams(parts)}`), 250);
    }

    function recall() {
      const parts = new URLSearchParams(location.hash.slice(1));
      const number = (name, low, high, otherwise) => {
        const value = parts.has(name) ? Number(parts.get(name)) : NaN;
        return Number.isFinite(value) ? clamp(value, low, high) : otherwise;
      };
      change({
        view: ["difference", "side"].includes(parts.get("view")) ? parts.get("view") : "slider",
        file: Math.round(number("file", 1, afters.length, 1)),
        zoom: number("zoom", 0.01, LARGEST_ZOOM, "fit"),
        split: number("split", 0, 100, 50),
        x: number("x", 0, 100, 50) / 100,
        y: number("y", 0, 100, 50) / 100,
        gain: 2 ** Math.round(Math.log2(number("gain", 1, 64, 8))),
      });
    }

    if (alone) addEventListener("hashchange", recall);
    new ResizeObserver(draw).observe(stage.parentElement);
    alone ? recall() : draw();
  }

  viewers.forEach(start);
}
