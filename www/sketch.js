// The drawing of a template: its aspect ratio and a sketch of its variables.

import { svg } from "./dom.js";

const SHORT_SIDE = 72;

/** Draws a template. It is decorative: the text beside it says the same. */
export function sketch({ width, height, hue, variables }) {
  const scale = SHORT_SIDE / Math.min(width, height);
  const w = width * scale;
  const h = height * scale;
  const types = (variables ?? []).map((variable) => variable.type);
  return svg("svg", { class: `sketch sketch--${hue ?? 0}`, viewBox: `0 0 ${w} ${h}`, "aria-hidden": "true" },
    svg("rect", { class: "sketch__ground", width: w, height: h, rx: 5 }),
    svg("circle", { class: "sketch__glow", cx: w * 0.88, cy: h * 0.08, r: Math.max(w, h) * 0.42 }),
    content(types, w, h));
}

function content(types, w, h) {
  const picture = types.find((type) => type === "image" || type === "video" || type === "avatar");
  const lines = Math.min(3, types.filter((type) => type === "text").length);
  const sound = types.some((type) => type === "audio" || type === "voiceover");
  if (!picture && lines === 0) return [play(w / 2, h / 2, 11)];

  const wide = w > h * 1.2;
  const margin = 9;
  const parts = [];
  let left = margin;
  let middle = h / 2;
  if (picture) {
    const box = wide
      ? { x: margin, y: margin, w: w * 0.36, h: h - 2 * margin }
      : { x: margin, y: margin, w: w - 2 * margin, h: h * 0.44 };
    parts.push(...pictureBox(picture, box));
    if (wide) left = box.x + box.w + 8;
    else middle = (box.y + box.h + h - (sound ? 16 : 4)) / 2;
  } else if (sound) {
    middle -= 5;
  }
  const span = w - margin - left;
  const top = middle - ((lines - 1) * 9 + 7) / 2;
  for (let line = 0; line < lines; line += 1) {
    const part = line === 0 ? 0.92 : line === 1 ? 0.7 : 0.5;
    parts.push(svg("rect", { class: line === 0 ? "sketch__title" : "sketch__line", x: left, y: top + line * 9 + (line > 0 ? 2 : 0), width: span * part, height: line === 0 ? 6.5 : 4, rx: 2 }));
  }
  if (sound) parts.push(wave(left, h - margin - 1, Math.min(span, 44)));
  return parts;
}

function pictureBox(type, { x, y, w, h }) {
  const cx = x + w / 2;
  const cy = y + h / 2;
  const box = svg("rect", { class: "sketch__picture", x, y, width: w, height: h, rx: 3.5 });
  if (type === "video") return [box, play(cx, cy, 7)];
  if (type === "avatar") {
    const r = Math.min(w, h) * 0.17;
    return [box,
      svg("circle", { class: "sketch__mark", cx, cy: cy - r * 0.7, r }),
      svg("path", { class: "sketch__mark", d: `M${cx - r * 2} ${y + h - 4}a${r * 2} ${r * 1.9} 0 0 1 ${r * 4} 0Z` })];
  }
  const base = y + h - 4;
  return [box,
    svg("circle", { class: "sketch__mark", cx: x + w * 0.73, cy: y + h * 0.3, r: 3.4 }),
    svg("path", { class: "sketch__mark", d: `M${x + 4} ${base}L${x + w * 0.36} ${y + h * 0.46}L${x + w * 0.56} ${y + h * 0.72}L${x + w * 0.68} ${y + h * 0.58}L${x + w - 4} ${base}Z` })];
}

function play(x, y, size) {
  return svg("path", { class: "sketch__mark", d: `M${x - size * 0.7} ${y - size}L${x + size} ${y}L${x - size * 0.7} ${y + size}Z` });
}

function wave(x, y, span) {
  const bars = Math.floor(span / 4);
  const d = Array.from({ length: bars }, (_, i) => `M${x + 1 + i * 4} ${y}v-${2 + ((i * 7) % 5) * 1.3}`).join("");
  return svg("path", { class: "sketch__wave", d });
}
