// Tests of jobs' videos: valid files with the job's variables, read by ffprobe, ffmpeg and tesseract, and played in browsers.

import assert from "node:assert/strict";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { boxes, color, complaints, engines, frame, letters, probe, serve, startBrowser, startSandbox, words } from "./harness.mjs";

const directory = resolve(process.env.VIDEO_DIR ?? "target/test/video");
const LONG = "Every loaf is mixed by hand the evening before, rests through the night in a cool room, and is baked at four in the morning, "
  + "so that it is still warm when the first neighbours come in on their way to work and ask what there is today. Nothing is thrown away.";
const FORMS = [
  { name: "portrait", aspect_ratio: "9:16", width: 720, height: 1280, picture: { x: 0.2, y: 0.2, w: 0.6, h: 0.2 } },
  { name: "landscape", aspect_ratio: "16:9", width: 1280, height: 720, picture: { x: 0.62, y: 0.3, w: 0.25, h: 0.3 } },
  { name: "square", aspect_ratio: "1:1", width: 720, height: 720, picture: { x: 0.2, y: 0.25, w: 0.6, h: 0.2 } },
];
const RED = [200, 30, 30];
const near = (seen, wanted) => seen.every((part, at) => Math.abs(part - wanted[at]) < 12);

let sandbox;
let pictures;
const videos = {};

before(async () => {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const templates = FORMS.map((form, at) => ({
    template_id: `00000000-0000-4000-8000-00000000000${at}`, name: `Bakery ${form.name}`, aspect_ratio: form.aspect_ratio, duration_seconds: 4 + at,
    variables: [{ name: "first", type: "text", label: "First" }, { name: "second", type: "text", label: "Second" }, { name: "photo", type: "image" }],
  }));
  const list = join(directory, "templates.json");
  await writeFile(list, JSON.stringify(templates));
  pictures = await serve({ "/red.gif": redGif(), "/broken.png": Buffer.from("\x89PNG\r\n\x1a\n no more") });
  const pages = join(directory, "pages");
  await mkdir(pages);
  await writeFile(join(pages, "index.html"), "<!doctype html><title>A page of the sandbox</title>");
  sandbox = await startSandbox("--www", pages, "--templates", list, "--lenient-urls", "--credits", "5000");
  for (const [at, form] of FORMS.entries()) videos[form.name] = { ...form, seconds: 4 + at, template: templates[at].template_id };
});

after(async () => {
  pictures?.stop();
  await sandbox?.stop();
});

/** A GIF of one red pixel. */
function redGif() {
  const head = Buffer.from("GIF89a\x01\x00\x01\x00\x80\x00\x00", "latin1");
  const rest = Buffer.from("\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;", "latin1");
  return Buffer.concat([head, Buffer.from(RED), rest]);
}

/** The words of a text that were not read, in any order. */
const missing = (text, read) => letters(text).split(" ").filter((word) => !read.split(" ").includes(word));

const text = (content) => ({ type: "text", properties: { content } });

/** Makes a video, and returns its URL and a local copy. */
async function make(form, variables, name) {
  const call = async (path, body) => {
    const response = await fetch(`${sandbox.url}/api/custom_template_jobs/${path}`, {
      method: body ? "POST" : "GET", body: body && JSON.stringify(body),
      headers: { "X-API-ID": "sandbox", "X-API-KEY": "sandbox", "content-type": "application/json" },
    });
    assert.ok(response.ok, await response.clone().text());
    return response.json();
  };
  const { id } = await call("", { template_id: form.template, variables });
  await sandbox.advance(120);
  const { video_output: url } = await call(`${id}/`);
  const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
  const file = join(directory, `${name}.mp4`);
  await writeFile(file, bytes);
  return { url, bytes, file, id };
}

for (const { name } of FORMS) {
  test(`${name}: ffprobe reads H.264 of the right size and length, its index comes first, and a frame from the middle has the text and the image`, async () => {
    const form = videos[name];
    const [first, second] = ["Fresh bread every morning", "Now 30% off"];
    const variables = { first: text(first), second: text(second), photo: { type: "image", properties: { url: `${pictures.url}/red.gif` } } };
    const made = await make(form, variables, name);
    form.url = made.url;
    const seen = await probe(made.file);
    assert.deepEqual(
      [seen.codec_name, seen.pix_fmt, seen.width, seen.height, seen.streams],
      ["h264", "yuv420p", form.width, form.height, 1],
    );
    assert.deepEqual([seen.color_range, seen.color_space, seen.color_primaries, seen.color_transfer], ["tv", "bt709", "bt709", "bt709"]);
    assert.ok(Math.abs(seen.seconds - form.seconds) <= 0.2, `it lasts ${seen.seconds} s in place of ${form.seconds}`);
    assert.equal(await complaints(made.file), "", "ffmpeg decodes all of it");
    const order = boxes(made.bytes);
    assert.ok(order.indexOf("moov") > 0 && order.indexOf("moov") < order.indexOf("mdat"), order.join(" "));

    const still = await frame(made.file, form.seconds / 4, join(directory, `${name}-1.png`));
    const read = await words(still);
    for (const wanted of [first, `Bakery ${name}`]) assert.deepEqual(missing(wanted, read), [], read);
    assert.ok(missing(second, read).length > 0, read);
    const later = await words(await frame(made.file, form.seconds * 0.75, join(directory, `${name}-2.png`)));
    assert.deepEqual(missing(second, later), [], later);
    assert.ok(missing(first, later).length > 0, later);
    const painted = await color(still, form.picture);
    assert.ok(near(painted, RED), `the image is ${painted}`);
  });

  test(`${name}: a long text is legible to its last word, and an image that cannot be drawn is a card with the reason`, async () => {
    const form = videos[name];
    const photo = { type: "image", properties: { url: `${pictures.url}/broken.png` } };
    const made = await make(form, { first: text(LONG), photo }, `${name}-long`);
    const read = await words(await frame(made.file, form.seconds / 2, join(directory, `${name}-long.png`)));
    // tesseract may misread a letter in such a long text.
    assert.ok(missing(LONG, read).length <= 2, `tesseract does not read ${missing(LONG, read)} in: ${read}`);
    assert.deepEqual(missing("Nothing is thrown away. Not drawn", read), [], read);
  });
}

test("byte ranges of a video equal the bytes of the whole", async () => {
  const { url } = videos.portrait;
  const whole = Buffer.from(await (await fetch(url)).arrayBuffer());
  for (const [range, part] of [["bytes=0-99", whole.subarray(0, 100)], [`bytes=${whole.length - 7}-`, whole.subarray(-7)], ["bytes=-7", whole.subarray(-7)]]) {
    const answer = await fetch(url, { headers: { range } });
    assert.equal(answer.status, 206, range);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), part, range);
  }
  assert.equal((await probe(url)).codec_name, "h264", "ffprobe seeks in it over HTTP");
});

for (const engine of engines) {
  test(`${engine} plays the video of each form from its middle, and shows its image`, async () => {
    const browser = await startBrowser(engine);
    try {
      await browser.visit(`${sandbox.url}/`);
      for (const { name, url, width, height, seconds, picture } of Object.values(videos)) {
        const point = { x: picture.x + picture.w / 2, y: picture.y + picture.h / 2 };
        const seen = await browser.play(url, seconds / 2, point);
        assert.ok(!seen.error, `${name}: ${seen.error}`);
        assert.deepEqual([seen.width, seen.height], [width, height], name);
        assert.ok(Math.abs(seen.seconds - seconds) <= 0.2 && seen.time > seconds / 2, JSON.stringify(seen));
        assert.ok(near(seen.color, RED), `${name}: ${seen.color}`);
      }
    } finally {
      await browser.quit();
    }
  });
}
