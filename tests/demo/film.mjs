// Films the demo page for the README: a form, its preview and its video. Needs ffmpeg with WebP and, as the tests of the demo,
// SANDBOX_BIN and WWW_DIRS. Argument: the file to write.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { button, choose, newest, playable, startBrowser, startSandbox, status } from "./harness.mjs";

const FRAMES_A_SECOND = 4;
const [WIDTH, HEIGHT, SHOWN] = [1280, 1010, 840];

const [, , file] = process.argv;
const directory = await mkdtemp(join(tmpdir(), "film-"));
const [browser, sandbox] = await Promise.all([startBrowser(), startSandbox("--speed", "3")]);
try {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT } });
  await page.goto(sandbox.url);
  const [template] = await sandbox.templates();
  await choose(page, template);

  let filming = true;
  let count = 0;
  const camera = (async () => {
    while (filming) {
      const next = performance.now() + 1_000 / FRAMES_A_SECOND;
      await writeFile(join(directory, `${String(count++).padStart(4, "0")}.png`), await page.screenshot());
      await setTimeout(Math.max(0, next - performance.now()));
    }
  })();

  const headline = page.getByLabel("Headline", { exact: true });
  await headline.fill("");
  await headline.pressSequentially("Slow Sundays", { delay: 120 });
  await button(page, "Preview").click();
  const card = newest(page);
  await status(card, "Done");
  await setTimeout(2_500);
  await button(card, "Render").click();
  await playable(card);
  await card.locator("video").evaluate((video) => {
    video.muted = true;
    return video.play();
  });
  await setTimeout(5_000);
  filming = false;
  await camera;

  const input = ["-framerate", String(FRAMES_A_SECOND), "-i", join(directory, "%04d.png"), "-vf", `scale=${SHOWN}:-1:flags=lanczos`];
  await promisify(execFile)("ffmpeg", ["-y", "-loglevel", "error", ...input, "-c:v", "libwebp_anim", "-quality", "75", "-compression_level", "6", "-loop", "0", file]);
  console.log(`${file}: ${count} frames`);
} finally {
  await browser.close();
  await sandbox.stop();
  await rm(directory, { recursive: true, force: true });
}
