"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const canvas = $("map"), context = canvas.getContext("2d"), player = $("player");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const count = data.clips.length, MARGIN = 28, REACH = 14, MOVE_MS = 450, STAY_MS = 1100, TIP_FIELDS = 7;
  const view = { zoom: 1, x: 0, y: 0 };
  let layer = 0, state = 0, colour = 0, over = -1, chosen = -1, hidden = new Set(), found = null, timer = 0;
  let places = new Float64Array(2 * count), moving = null, pending = false;

  // --- what is shown -------------------------------------------------------------------------------------------
  const maps = () => data.maps[layer];
  const colouring = () => data.colours[colour];
  const codeOf = (i) => (colouring().codes ? colouring().codes[i] : 0);
  const isShown = (i) => !hidden.has(codeOf(i));
  const isFound = (i) => found === null || found[i];

  function colourOf(i) {
    const by = colouring();
    if (by.codes) return by.codes[i] < 0 ? "#bdbdbd" : by.styles[by.codes[i]][0];
    if (by.values[i] === null) return "#bdbdbd";
    return onScale(by, by.high > by.low ? (by.values[i] - by.low) / (by.high - by.low) : 0.5);
  }

  function onScale(by, share) {
    const at = share * (by.scale.length - 1), low = Math.min(Math.floor(at), by.scale.length - 2), rest = at - low;
    const parts = (text) => [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
    const a = parts(by.scale[low]), b = parts(by.scale[low + 1]);
    return `rgb(${a.map((value, k) => Math.round(value + rest * (b[k] - value))).join(",")})`;
  }

  // --- drawing -------------------------------------------------------------------------------------------------
  const SHAPES = {
    "^": [[0, -1.15], [1.05, 0.8], [-1.05, 0.8]], "v": [[0, 1.15], [1.05, -0.8], [-1.05, -0.8]],
    "<": [[-1.15, 0], [0.8, 1.05], [0.8, -1.05]], "s": [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    "D": [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
    "P": [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1],
      [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
  };
  SHAPES.X = SHAPES.P.map(([x, y]) => [(x - y) * 0.75, (x + y) * 0.75]);

  function drawMark(pen, x, y, size, marker) {
    pen.beginPath();
    const shape = SHAPES[marker];
    if (!shape) pen.arc(x, y, size, 0, 2 * Math.PI);
    else shape.forEach(([dx, dy], k) => (k ? pen.lineTo(x + dx * size, y + dy * size) : pen.moveTo(x + dx * size, y + dy * size)));
    pen.closePath();
  }

  function fit() {
    const [wide, high] = maps().size.map((value) => Math.max(value, data.grid / 100));
    const width = canvas.clientWidth - 2 * MARGIN, height = canvas.clientHeight - 2 * MARGIN;
    const scale = Math.min(width / wide, height / high) * view.zoom;
    return { scale, x: canvas.clientWidth / 2 + view.x - (scale * wide) / 2, y: canvas.clientHeight / 2 + view.y + (scale * high) / 2 };
  }

  const toScreen = (to, x, y) => [to.x + to.scale * x, to.y - to.scale * y];
  const screenOf = (to, i) => toScreen(to, places[2 * i], places[2 * i + 1]);

  function draw() {
    pending = false;
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const to = fit(), size = (count > 3000 ? 2.2 : count > 800 ? 3 : 4) * Math.min(2, Math.sqrt(view.zoom));
    if (chosen >= 0) drawTrail(to);
    for (const bright of [false, true]) {
      for (let i = 0; i < count; i++) {
        if (!isShown(i) || isFound(i) !== bright) continue;
        const [x, y] = screenOf(to, i), by = colouring();
        context.globalAlpha = bright ? 0.8 : 0.08;
        context.fillStyle = colourOf(i);
        drawMark(context, x, y, size, by.codes && by.codes[i] >= 0 ? by.styles[by.codes[i]][1] : "o");
        context.fill();
      }
    }
    context.globalAlpha = 1;
    for (const [i, style] of [[over, "#1c1e21"], [chosen, "#b3261e"]]) {
      if (i < 0 || !isShown(i)) continue;
      const [x, y] = screenOf(to, i);
      context.strokeStyle = style;
      context.lineWidth = 2;
      drawMark(context, x, y, size + 4, "o");
      context.stroke();
    }
    if (moving) step();
  }

  function drawTrail(to) {
    const states = maps().states;
    if (states.length < 2) return;
    context.strokeStyle = "#b3261e";
    context.globalAlpha = 0.55;
    context.lineWidth = 1.5;
    context.beginPath();
    states.forEach((each, k) => {
      const [x, y] = toScreen(to, each.xy[2 * chosen], each.xy[2 * chosen + 1]);
      if (k) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.stroke();
    context.globalAlpha = 1;
  }

  function redraw() {
    if (!pending) {
      pending = true;
      requestAnimationFrame(draw);
    }
  }

  function step() {
    const share = Math.min(1, (performance.now() - moving.start) / MOVE_MS), eased = share * share * (3 - 2 * share);
    for (let k = 0; k < places.length; k++) places[k] = moving.from[k] + eased * (moving.to[k] - moving.from[k]);
    if (share === 1) moving = null;
    redraw();
  }

  // --- layer, checkpoint, colours ------------------------------------------------------------------------------
  function move(smoothly) {
    hover(-1); // the point that it names moves away from it
    const target = Float64Array.from(maps().states[state].xy);
    if (smoothly && !still) moving = { from: places.slice(), to: target, start: performance.now() };
    else {
      places = target;
      moving = null;
    }
    const now = maps().states[state], facts = [now.name];
    if (now.trust !== null) facts.push(`trustworthiness ${now.trust.toFixed(2)}`);
    if (now.stability !== null) facts.push(`seed stability ${now.stability.toFixed(2)}`);
    $("quality").value = facts.join(" · ");
    $("state").setAttribute("aria-valuetext", now.name);
    redraw();
  }

  function setLayer(index) {
    layer = index;
    const last = maps().states.length - 1;
    state = Math.min(state, last);
    $("state").max = last;
    $("state").value = state;
    $("steps").hidden = last < 1;
    move(false);
  }

  function setState(index) {
    state = Math.max(0, Math.min(maps().states.length - 1, index));
    $("state").value = state;
    move(true);
  }

  function runThrough() {
    const on = timer === 0;
    if (on) {
      setState(state === maps().states.length - 1 ? 0 : state + 1);
      timer = setInterval(() => (state === maps().states.length - 1 ? runThrough() : setState(state + 1)), STAY_MS);
    } else {
      clearInterval(timer);
      timer = 0;
    }
    $("run").setAttribute("aria-pressed", String(on));
  }

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function setColour(index) {
    colour = index;
    hidden = new Set();
    const by = colouring(), legend = $("legend");
    legend.replaceChildren();
    $("legend-all").hidden = !by.codes;
    if (!by.codes) showScale(by, legend);
    else [...by.names.keys(), ...(by.codes.includes(-1) ? [-1] : [])].forEach((code) => legend.append(entry(by, code)));
    redraw();
  }

  function entry(by, code) {
    const made = element("button"), swatch = element("canvas", undefined, "swatch");
    made.type = "button";
    made.setAttribute("aria-pressed", "true");
    swatch.width = swatch.height = 32;
    const pen = swatch.getContext("2d"), [fill, marker] = code < 0 ? ["#bdbdbd", "o"] : by.styles[code];
    pen.fillStyle = fill;
    drawMark(pen, 16, 16, 10, marker);
    pen.fill();
    made.append(swatch, element("span", code < 0 ? "(none)" : by.names[code], "name"),
      element("span", String(by.codes.filter((each) => each === code).length), "count"));
    made.addEventListener("click", () => toggle(made, code, hidden.has(code)));
    return made;
  }

  function toggle(button, code, show) {
    if (show) hidden.delete(code);
    else hidden.add(code);
    button.setAttribute("aria-pressed", String(show));
    redraw();
  }

  function toggleAll(show) {
    const by = colouring(), codes = [...by.names.keys(), -1];
    [...$("legend").children].forEach((button, k) => toggle(button, k < by.names.length ? k : codes[codes.length - 1], show));
  }

  function showScale(by, legend) {
    const bar = element("canvas", undefined, "scale"), ends = element("div", undefined, "ends");
    bar.width = 256;
    bar.height = 16;
    const pen = bar.getContext("2d");
    for (let x = 0; x < 256; x++) {
      pen.fillStyle = onScale(by, x / 255);
      pen.fillRect(x, 0, 1, 16);
    }
    ends.append(element("span", by.low.toPrecision(3)), element("span", by.high.toPrecision(3)));
    legend.append(bar, ends);
    if (by.values.includes(null)) legend.append(element("p", "grey: no value", "quiet"));
  }

  // --- clips ---------------------------------------------------------------------------------------------------
  function nearest(x, y) {
    const to = fit();
    let best = -1, least = REACH * REACH;
    for (let i = 0; i < count; i++) {
      if (!isShown(i) || !isFound(i)) continue;
      const [px, py] = screenOf(to, i), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  function hover(i, x, y) {
    if (i !== over) {
      over = i;
      redraw();
    }
    const tip = $("tip");
    tip.hidden = i < 0;
    canvas.style.cursor = i < 0 ? "grab" : "pointer";
    if (i < 0) return;
    tip.replaceChildren();
    data.fields.slice(0, TIP_FIELDS).forEach((field, k) => {
      const line = element("div");
      line.append(element("b", `${field}: `), data.clips[i][k]);
      tip.append(line);
    });
    tip.style.left = `${Math.min(x + 14, Math.max(0, canvas.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > canvas.clientHeight ? Math.max(0, y - tip.offsetHeight - 12) : y + 18}px`;
  }

  function choose(i, play) {
    chosen = i;
    redraw();
    if (i < 0) return;
    const list = element("dl");
    data.fields.forEach((field, k) => list.append(element("dt", field), element("dd", data.clips[i][k])));
    $("clip").replaceChildren(list);
    const source = data.audio[i];
    player.pause();
    player.hidden = source === null;
    if (source === null) {
      player.removeAttribute("src");
      $("said").textContent = "There is no audio for this clip.";
      return;
    }
    $("said").textContent = "";
    if (player.getAttribute("src") !== source) player.setAttribute("src", source);
    if (play) player.play().catch(notPlayed);
  }

  function notPlayed(reason) {
    if (reason && reason.name === "AbortError") return; // another clip was chosen meanwhile
    $("said").textContent = "This clip could not be played: its file is not where the page expects it, or the browser does not know its format.";
  }

  function goTo(dx, dy) {
    const to = fit();
    const [x, y] = chosen >= 0 && isShown(chosen) ? screenOf(to, chosen) : [canvas.clientWidth / 2, canvas.clientHeight / 2];
    let best = -1, least = Infinity;
    for (let i = 0; i < count; i++) {
      if (i === chosen || !isShown(i) || !isFound(i)) continue;
      const [px, py] = screenOf(to, i), along = (px - x) * dx + (py - y) * dy, aside = Math.abs((px - x) * dy - (py - y) * dx);
      if (chosen >= 0 && (along <= 0 || aside > 2 * along)) continue;
      const cost = chosen >= 0 ? along + 2 * aside : Math.hypot(px - x, py - y);
      if (cost < least) [best, least] = [i, cost];
    }
    if (best < 0) return;
    choose(best, false);
    const [px, py] = screenOf(to, best);
    hover(best, px, py);
    $("said").textContent = data.fields.map((field, k) => `${field} ${data.clips[best][k]}`).join(", ");
  }

  // --- zoom and pointer ----------------------------------------------------------------------------------------
  function zoomBy(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
    hover(-1);
    const zoom = Math.max(0.5, Math.min(60, view.zoom * factor)), by = zoom / view.zoom;
    const cx = canvas.clientWidth / 2, cy = canvas.clientHeight / 2;
    view.x = x - cx - by * (x - cx - view.x);
    view.y = y - cy - by * (y - cy - view.y);
    view.zoom = zoom;
    redraw();
  }

  function showAll() {
    Object.assign(view, { zoom: 1, x: 0, y: 0 });
    redraw();
  }

  let drag = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left - canvas.clientLeft, event.clientY - box.top - canvas.clientTop];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = at(event);
    drag = { x, y, from: { ...view }, far: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!drag) return hover(nearest(x, y), x, y);
    if (Math.hypot(x - drag.x, y - drag.y) > 4) drag.far = true;
    if (drag.far) {
      hover(-1);
      canvas.style.cursor = "grabbing";
      view.x = drag.from.x + x - drag.x;
      view.y = drag.from.y + y - drag.y;
      redraw();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const [x, y] = at(event), i = nearest(x, y);
    if (drag && !drag.far && i >= 0) choose(i, true);
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => (drag = null));
  canvas.addEventListener("pointerleave", () => hover(-1));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 400)), ...at(event));
  }, { passive: false });

  const KEYS = {
    ArrowLeft: () => goTo(-1, 0), ArrowRight: () => goTo(1, 0), ArrowUp: () => goTo(0, -1), ArrowDown: () => goTo(0, 1),
    Enter: () => chosen >= 0 && choose(chosen, true), " ": () => chosen >= 0 && choose(chosen, true),
    "+": () => zoomBy(1.4), "=": () => zoomBy(1.4), "-": () => zoomBy(1 / 1.4), "0": showAll,
    PageUp: () => setState(state - 1), PageDown: () => setState(state + 1), Escape: () => { hover(-1); player.pause(); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (!Object.hasOwn(KEYS, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  // --- start ---------------------------------------------------------------------------------------------------
  data.maps.forEach((each, k) => $("layer").append(new Option(each.layer, String(k))));
  data.colours.forEach((each, k) => $("colour").append(new Option(each.name, String(k))));
  $("layer").addEventListener("change", (event) => setLayer(Number(event.target.value)));
  $("colour").addEventListener("change", (event) => setColour(Number(event.target.value)));
  $("state").addEventListener("input", (event) => setState(Number(event.target.value)));
  $("run").addEventListener("click", runThrough);
  $("find").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    found = wanted ? data.clips.map((clip) => clip.some((value) => value.toLowerCase().includes(wanted))) : null;
    $("said").textContent = found ? `${found.filter(Boolean).length} clips found` : "";
    redraw();
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("closer").addEventListener("click", () => zoomBy(1.4));
  $("further").addEventListener("click", () => zoomBy(1 / 1.4));
  $("all").addEventListener("click", showAll);
  $("show-all").addEventListener("click", () => toggleAll(true));
  $("hide-all").addEventListener("click", () => toggleAll(false));
  player.addEventListener("error", () => player.getAttribute("src") && notPlayed());
  $("audio-note").textContent = data.audioNote;
  new ResizeObserver(redraw).observe(canvas);
  setColour(0);
  setLayer(0);
})();
