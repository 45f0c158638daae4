// Helpers of the video tests: ffprobe, ffmpeg, tesseract, and playback in a browser.

import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { once } from "node:events";
import { promisify } from "node:util";
import { Capabilities, WebDriver } from "selenium-webdriver";
import { ServiceBuilder as Chromedriver } from "selenium-webdriver/chrome.js";
import { ServiceBuilder as Geckodriver } from "selenium-webdriver/firefox.js";
import { Executor, HttpClient } from "selenium-webdriver/http/index.js";
import { CHROMIUM } from "../chromium.mjs";

export { startSandbox } from "../node/harness.mjs";

/** The timeout of a step on a busy machine. */
export const PATIENCE = 60_000;

const { FFMPEG = "ffmpeg", FFPROBE = "ffprobe", TESSERACT = "tesseract" } = process.env;
const run = (program, args) => promisify(execFile)(program, args, { timeout: PATIENCE, maxBuffer: 1 << 26 });

/** The only stream of a file and its duration, by ffprobe. */
export async function probe(file) {
  const { stdout } = await run(FFPROBE, ["-v", "error", "-show_streams", "-show_format", "-of", "json", file]);
  const { streams, format } = JSON.parse(stdout);
  return { ...streams[0], streams: streams.length, seconds: Number(format.duration), format: format.format_name };
}

/** The complaints of ffmpeg when it decodes a whole file; empty for a valid file. */
export async function complaints(file) {
  return (await run(FFMPEG, ["-v", "warning", "-i", file, "-f", "null", "-"])).stderr;
}

/** Writes a frame as a PNG. */
export async function frame(file, second, to) {
  await run(FFMPEG, ["-v", "error", "-y", "-ss", String(second), "-i", file, "-frames:v", "1", to]);
  return to;
}

/** The mean colour of a part of a picture, `[red, green, blue]`. The part is in fractions of its sides. */
export async function color(file, { x, y, w, h }) {
  const filter = `crop=iw*${w}:ih*${h}:iw*${x}:ih*${y},scale=1:1:flags=area`;
  const { stdout } = await promisify(execFile)(FFMPEG, ["-v", "error", "-i", file, "-vf", filter, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], { encoding: "buffer" });
  return [...stdout.subarray(0, 3)];
}

/** The white words in a picture, read by tesseract. */
export async function words(file) {
  const dark = file.replace(/\.png$/, "-words.png");
  await run(FFMPEG, ["-v", "error", "-y", "-i", file, "-vf", "scale=iw*2:ih*2,format=gray,negate", dark]);
  const { stdout } = await run(TESSERACT, [dark, "-", "--psm", "11"]);
  return letters(stdout);
}

/** The words of a text; line breaks do not matter. */
export const letters = (text) => text.replace(/[^\p{L}\p{N}%$£]+/gu, " ").trim().toLowerCase();

/** The names of an MP4's outermost boxes, in order. */
export function boxes(bytes) {
  const names = [];
  for (let at = 0; at + 8 <= bytes.length; at += bytes.readUInt32BE(at)) {
    names.push(bytes.toString("latin1", at + 4, at + 8));
    if (bytes.readUInt32BE(at) < 8) break;
  }
  return names;
}

/** Serves files by their path. `stop` ends it. */
export async function serve(files) {
  const server = createServer(({ url }, response) => {
    response.writeHead(files[url] ? 200 : 404);
    response.end(files[url]);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

const ENGINES = {
  chromium: {
    driver: () => new Chromedriver(process.env.CHROMEDRIVER ?? "/usr/bin/chromedriver"),
    capabilities: {
      browserName: "chrome",
      "goog:chromeOptions": {
        binary: CHROMIUM.executablePath,
        args: CHROMIUM.args,
      },
    },
  },
  firefox: {
    driver: () => new Geckodriver(process.env.GECKODRIVER ?? "/usr/bin/geckodriver"),
    capabilities: {
      browserName: "firefox",
      "moz:firefoxOptions": { binary: process.env.FIREFOX ?? "/usr/bin/firefox-esr", args: ["-headless"], prefs: { "media.autoplay.default": 0 } },
    },
  },
};

export const engines = Object.keys(ENGINES);

/** Starts a browser with an empty profile. `quit` ends it. */
export async function startBrowser(engine) {
  const { driver: builder, capabilities } = ENGINES[engine];
  const service = builder().setLoopback(true).build();
  const executor = new Executor(new HttpClient(await service.start(PATIENCE)));
  const driver = WebDriver.createSession(executor, new Capabilities(capabilities));
  await driver.manage().setTimeouts({ script: PATIENCE, pageLoad: PATIENCE }).catch(async (thrown) => {
    await service.kill();
    throw thrown;
  });
  return {
    visit: (url) => driver.get(url),
    /** Plays a video of the page's own origin from a given second; returns its properties, its position, and the colour of a point. */
    play: (url, second, point) => driver.executeAsyncScript(PLAY, url, second, point),
    async quit() {
      await driver.quit();
      await service.kill();
    },
  };
}

const PLAY = `
  const [url, second, point, done] = arguments;
  const video = document.createElement("video");
  const said = (what) => done({ error: what + ": " + (video.error?.message ?? "") });
  video.muted = true;
  video.playsInline = true;
  video.onerror = () => said("it does not play");
  video.onloadedmetadata = () => { video.currentTime = second; };
  video.onseeked = () => video.play().catch((error) => said(error.message));
  video.ontimeupdate = () => {
    if (video.paused || video.currentTime < second + 0.3) return;
    video.pause();
    const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    const [red, green, blue] = context.getImageData(point.x * canvas.width, point.y * canvas.height, 1, 1).data;
    done({ width: canvas.width, height: canvas.height, seconds: video.duration, time: video.currentTime, color: [red, green, blue] });
  };
  // Visible, since Firefox plays without decoding what is out of view.
  video.style.height = "50vh";
  document.body.replaceChildren(video);
  video.src = url;`;
